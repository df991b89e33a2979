//! What a query is made of, after parsing.

use regex::Regex;

use super::labels::{Labels, NAME};

/// A query or a part of one.
#[derive(Clone, Debug)]
pub enum Expression {
    /// A number.
    Number(f64),
    /// A string.
    Text(String),
    /// The newest sample of each series.
    Newest(Selector),
    /// The samples of each series within a range.
    Within(Selector, Milliseconds),
    /// Unary minus.
    Negated(Box<Expression>),
    /// A function of arguments, whose number and types fit.
    Call(Function, Vec<Expression>),
    /// Many series made one, by groups.
    Aggregation(Aggregation),
    /// Two operands.
    Binary(Box<Binary>),
}

/// A duration.
pub type Milliseconds = i64;

/// Selects series by their labels.
#[derive(Clone, Debug)]
pub struct Selector {
    /// All of them must match.
    pub matchers: Vec<Matcher>,
    /// How far in the past.
    pub offset: Milliseconds,
}

impl Selector {
    /// Whether the series with these labels is meant.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(labels.get(&matcher.label)))
    }

    /// Whether a metric with this name can be meant.
    pub fn matches_name(&self, name: &str) -> bool {
        self.matchers.iter().filter(|matcher| matcher.label == NAME).all(|matcher| matcher.matches(name))
    }
}

/// One condition on one label.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// The label.
    pub label: String,
    /// What it must be.
    pub condition: Condition,
}

/// What the value of a label must be. A label that is not there counts as empty.
#[derive(Clone, Debug)]
pub enum Condition {
    /// `=`
    Equal(String),
    /// `!=`
    NotEqual(String),
    /// `=~`, anchored at both ends
    Like(Regex),
    /// `!~`, anchored at both ends
    Unlike(Regex),
}

impl Matcher {
    /// Whether a value is as it must be.
    pub fn matches(&self, value: &str) -> bool {
        match &self.condition {
            Condition::Equal(expected) => value == expected,
            Condition::NotEqual(excluded) => value != excluded,
            Condition::Like(regex) => regex.is_match(value),
            Condition::Unlike(regex) => !regex.is_match(value),
        }
    }
}

/// The type of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number without labels.
    Scalar,
    /// A number for each series.
    Instant,
    /// Samples for each series.
    Range,
    /// A string.
    Text,
}

impl Kind {
    /// As Prometheus calls it in its messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Instant => "instant vector",
            Self::Range => "range vector",
            Self::Text => "string",
        }
    }
}

impl Expression {
    /// Its type.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Number(_) => Kind::Scalar,
            Self::Text(_) => Kind::Text,
            Self::Within(..) => Kind::Range,
            Self::Negated(operand) => operand.kind(),
            Self::Call(function, _) => function.result(),
            Self::Binary(binary) if binary.left.kind() == Kind::Scalar => binary.right.kind(),
            Self::Newest(_) | Self::Aggregation(_) | Self::Binary(_) => Kind::Instant,
        }
    }
}

/// An aggregation.
#[derive(Clone, Debug)]
pub struct Aggregation {
    /// What is made of the numbers of a group.
    pub operator: Aggregate,
    /// What makes a group.
    pub grouping: Grouping,
    /// Whose numbers.
    pub operand: Box<Expression>,
}

/// The aggregations that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of PromQL")]
pub enum Aggregate {
    Sum,
    Avg,
    Min,
    Max,
    Count,
}

impl Aggregate {
    /// By its name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "sum" => Self::Sum,
            "avg" => Self::Avg,
            "min" => Self::Min,
            "max" => Self::Max,
            "count" => Self::Count,
            _ => return None,
        })
    }
}

/// Which labels tell one group from another.
#[derive(Clone, Debug)]
pub enum Grouping {
    /// These alone.
    By(Vec<String>),
    /// All but these and the metric's name.
    Without(Vec<String>),
}

/// A binary operation.
#[derive(Clone, Debug)]
pub struct Binary {
    /// What is done.
    pub operator: Operator,
    /// A comparison gives 0 or 1 instead of choosing.
    pub is_bool: bool,
    /// Which labels must be equal.
    pub matching: Matching,
    /// Left operand.
    pub left: Expression,
    /// Right operand.
    pub right: Expression,
}

/// Which labels must be equal so that two series belong together. The metric's name never matters, unless it is named.
#[derive(Clone, Debug)]
pub enum Matching {
    /// These alone.
    On(Vec<String>),
    /// All but these.
    Ignoring(Vec<String>),
}

/// The binary operators that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Operator {
    Or,
    And,
    Unless,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
}

impl Operator {
    const ALL: [(&str, Self, u8); 15] = [
        ("or", Self::Or, 1),
        ("and", Self::And, 2),
        ("unless", Self::Unless, 2),
        ("==", Self::Equal, 3),
        ("!=", Self::NotEqual, 3),
        ("<", Self::Less, 3),
        ("<=", Self::LessOrEqual, 3),
        (">", Self::Greater, 3),
        (">=", Self::GreaterOrEqual, 3),
        ("+", Self::Add, 4),
        ("-", Self::Subtract, 4),
        ("*", Self::Multiply, 5),
        ("/", Self::Divide, 5),
        ("%", Self::Modulo, 5),
        ("^", Self::Power, POWER),
    ];

    /// By how it is written: the operator, and how tightly it binds.
    pub fn written(text: &str) -> Option<(Self, u8)> {
        Self::ALL
            .iter()
            .find(|(written, ..)| written.eq_ignore_ascii_case(text))
            .map(|(_, known, level)| (*known, *level))
    }

    /// `or`, `and` and `unless`.
    pub fn is_set(self) -> bool {
        matches!(self, Self::Or | Self::And | Self::Unless)
    }

    /// Those that choose, or give 0 or 1.
    pub fn is_comparison(self) -> bool {
        use Operator as O;
        matches!(self, O::Equal | O::NotEqual | O::Less | O::LessOrEqual | O::Greater | O::GreaterOrEqual)
    }
}

/// How tightly `^` binds: tighter than a sign.
pub const POWER: u8 = 6;

/// The functions that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of PromQL")]
pub enum Function {
    Rate,
    Increase,
    Delta,
    Irate,
    HistogramQuantile,
    Vector,
    Scalar,
    Time,
    Absent,
    Abs,
    Ceil,
    Floor,
    ClampMin,
    ClampMax,
    OverTime(OverTime),
}

/// What `*_over_time` makes of the samples of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of PromQL")]
pub enum OverTime {
    Aggregate(Aggregate),
    Last,
}

impl Function {
    /// By its name, with the types of its arguments.
    pub fn named(name: &str) -> Option<(Self, &'static [Kind])> {
        use Function as F;
        let over_time = |aggregate| F::OverTime(OverTime::Aggregate(aggregate));
        Some(match name {
            "rate" => (F::Rate, &[Kind::Range]),
            "increase" => (F::Increase, &[Kind::Range]),
            "delta" => (F::Delta, &[Kind::Range]),
            "irate" => (F::Irate, &[Kind::Range]),
            "histogram_quantile" => (F::HistogramQuantile, &[Kind::Scalar, Kind::Instant]),
            "vector" => (F::Vector, &[Kind::Scalar]),
            "scalar" => (F::Scalar, &[Kind::Instant]),
            "time" => (F::Time, &[]),
            "absent" => (F::Absent, &[Kind::Instant]),
            "abs" => (F::Abs, &[Kind::Instant]),
            "ceil" => (F::Ceil, &[Kind::Instant]),
            "floor" => (F::Floor, &[Kind::Instant]),
            "clamp_min" => (F::ClampMin, &[Kind::Instant, Kind::Scalar]),
            "clamp_max" => (F::ClampMax, &[Kind::Instant, Kind::Scalar]),
            "sum_over_time" => (over_time(Aggregate::Sum), &[Kind::Range]),
            "avg_over_time" => (over_time(Aggregate::Avg), &[Kind::Range]),
            "min_over_time" => (over_time(Aggregate::Min), &[Kind::Range]),
            "max_over_time" => (over_time(Aggregate::Max), &[Kind::Range]),
            "count_over_time" => (over_time(Aggregate::Count), &[Kind::Range]),
            "last_over_time" => (F::OverTime(OverTime::Last), &[Kind::Range]),
            _ => return None,
        })
    }

    fn result(self) -> Kind {
        match self {
            Self::Scalar | Self::Time => Kind::Scalar,
            _ => Kind::Instant,
        }
    }
}

//! From words to an expression, with the types checked.

use regex::Regex;

use super::expression::{
    Aggregate, Aggregation, Binary, Condition, Expression, Function, Grouping, Kind, Matcher, Matching, Operator,
    POWER, Selector,
};
use super::labels::NAME;
use super::lexer::{Token, Word, words};
use super::{Milliseconds, ParseError};

/// Deepest nesting.
const DEPTH_MAX: usize = 64;

/// Reads a query.
pub fn parse(text: &str) -> Result<Expression, ParseError> {
    let mut parser = Parser { text, words: words(text)?, next: 0, depth: 0 };
    if *parser.peek() == Token::End {
        return Err(parser.error("no expression found in input"));
    }
    let expression = parser.expression(0)?;
    match parser.peek() {
        Token::End => Ok(expression),
        _ => Err(parser.unexpected()),
    }
}

struct Parser<'a> {
    text: &'a str,
    words: Vec<Word>,
    next: usize,
    depth: usize,
}

type Parsed<T> = Result<T, ParseError>;

impl Parser<'_> {
    /// Operands joined by operators that bind at least as tightly as `level`.
    fn expression(&mut self, level: u8) -> Parsed<Expression> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error("the expression is nested too deeply"));
        }
        let mut left = self.signed()?;
        while let Some((operator, binds)) = self.operator().filter(|(_, binds)| *binds >= level) {
            self.next += 1;
            let is_bool = self.accept_name("bool");
            let matching = self.matching()?;
            let right = self.expression(if operator == Operator::Power { binds } else { binds + 1 })?;
            left = self.binary(operator, is_bool, matching, left, right)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn operator(&self) -> Option<(Operator, u8)> {
        match self.peek() {
            Token::Symbol(symbol) => Operator::written(symbol),
            Token::Name(name) => Operator::written(name),
            _ => None,
        }
    }

    fn signed(&mut self) -> Parsed<Expression> {
        let is_negative = self.accept("-");
        if !is_negative && !self.accept("+") {
            return self.operand();
        }
        let operand = self.expression(POWER)?;
        match (operand.kind(), is_negative) {
            (Kind::Scalar | Kind::Instant, true) => Ok(Expression::Negated(Box::new(operand))),
            (Kind::Scalar | Kind::Instant, false) => Ok(operand),
            (kind, _) => Err(self.error(format!(
                "unary expression only allowed on expressions of type scalar or instant vector, got {:?}",
                kind.as_str()
            ))),
        }
    }

    /// One operand with what follows it.
    fn operand(&mut self) -> Parsed<Expression> {
        let mut operand = self.primary()?;
        loop {
            if self.accept("[") {
                let range = self.duration("]")?;
                operand = match operand {
                    Expression::Newest(selector) if range > 0 => Expression::Within(selector, range),
                    Expression::Newest(_) => return Err(self.error("duration must be greater than 0")),
                    _ => return Err(self.error("ranges only allowed for vector selectors")),
                };
            } else if self.accept_name("offset") {
                let is_negative = self.accept("-");
                let offset = self.duration("")?;
                let (Expression::Newest(selector) | Expression::Within(selector, _)) = &mut operand else {
                    return Err(self.error(
                        "offset modifier must be preceded by an instant vector selector or range vector selector or a \
                         subquery",
                    ));
                };
                selector.offset = if is_negative { -offset } else { offset };
            } else {
                return Ok(operand);
            }
        }
    }

    /// A duration, or a number of seconds, and what ends it.
    fn duration(&mut self, end: &'static str) -> Parsed<Milliseconds> {
        let milliseconds = match *self.peek() {
            Token::Duration(milliseconds) => milliseconds,
            Token::Number(seconds) => (seconds * 1000.0) as Milliseconds,
            _ => return Err(self.unexpected()),
        };
        self.next += 1;
        if *self.peek() == Token::Symbol(":") {
            return Err(self.error("subqueries are not part of this model"));
        }
        if !end.is_empty() {
            self.expect(end)?;
        }
        Ok(milliseconds)
    }

    fn primary(&mut self) -> Parsed<Expression> {
        let token = self.peek().clone();
        match token {
            Token::Number(number) => Ok(self.took(Expression::Number(number))),
            Token::Duration(milliseconds) => Ok(self.took(Expression::Number(milliseconds as f64 / 1000.0))),
            Token::Text(text) => Ok(self.took(Expression::Text(text))),
            Token::Symbol("(") => {
                self.next += 1;
                let inner = self.expression(0)?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Symbol("{") => self.selector(None),
            Token::Name(name) => {
                self.next += 1;
                self.named(name)
            }
            _ => Err(self.unexpected()),
        }
    }

    /// What begins with a name: a number, an aggregation, a call or a selector.
    fn named(&mut self, name: String) -> Parsed<Expression> {
        let lower = name.to_ascii_lowercase();
        let is_called = *self.peek() == Token::Symbol("(");
        match (lower.as_str(), Aggregate::named(&lower)) {
            ("inf", _) => Ok(Expression::Number(f64::INFINITY)),
            ("nan", _) => Ok(Expression::Number(f64::NAN)),
            (_, Some(operator)) if is_called || self.is_name("by") || self.is_name("without") => {
                self.aggregation(operator)
            }
            _ if is_called => self.call(&name),
            _ => self.selector(Some(name)),
        }
    }

    fn aggregation(&mut self, operator: Aggregate) -> Parsed<Expression> {
        let before = self.grouping()?;
        self.expect("(")?;
        let operand = Box::new(self.expression(0)?);
        self.expect(")")?;
        let grouping = match before {
            Some(grouping) => Some(grouping),
            None => self.grouping()?,
        };
        self.check(&operand, Kind::Instant, "aggregation expression")?;
        let grouping = grouping.unwrap_or(Grouping::By(Vec::new()));
        Ok(Expression::Aggregation(Aggregation { operator, grouping, operand }))
    }

    fn grouping(&mut self) -> Parsed<Option<Grouping>> {
        if self.accept_name("by") {
            self.names().map(Grouping::By).map(Some)
        } else if self.accept_name("without") {
            self.names().map(Grouping::Without).map(Some)
        } else {
            Ok(None)
        }
    }

    fn matching(&mut self) -> Parsed<Option<Matching>> {
        let matching = if self.accept_name("on") {
            Some(Matching::On(self.names()?))
        } else if self.accept_name("ignoring") {
            Some(Matching::Ignoring(self.names()?))
        } else {
            None
        };
        if self.is_name("group_left") || self.is_name("group_right") {
            return Err(self.error("group_left and group_right are not part of this model"));
        }
        Ok(matching)
    }

    /// Names of labels, in parentheses.
    fn names(&mut self) -> Parsed<Vec<String>> {
        self.expect("(")?;
        let mut names = Vec::new();
        while !self.accept(")") {
            names.push(self.label()?);
            if !self.accept(",") && *self.peek() != Token::Symbol(")") {
                return Err(self.unexpected());
            }
        }
        Ok(names)
    }

    fn label(&mut self) -> Parsed<String> {
        match self.peek().clone() {
            Token::Name(name) if !name.contains(':') => Ok(self.took(name)),
            _ => Err(self.unexpected()),
        }
    }

    fn call(&mut self, name: &str) -> Parsed<Expression> {
        let Some((function, kinds)) = Function::named(name) else {
            return Err(self.error(format!("unknown function with name {name:?}")));
        };
        self.expect("(")?;
        let mut arguments = Vec::new();
        while !self.accept(")") {
            arguments.push(self.expression(0)?);
            if !self.accept(",") && *self.peek() != Token::Symbol(")") {
                return Err(self.unexpected());
            }
        }
        let (wanted, given) = (kinds.len(), arguments.len());
        if wanted != given {
            return Err(self.error(format!("expected {wanted} argument(s) in call to {name:?}, got {given}")));
        }
        for (argument, kind) in arguments.iter().zip(kinds) {
            self.check(argument, *kind, &format!("call to function {name:?}"))?;
        }
        Ok(Expression::Call(function, arguments))
    }

    fn selector(&mut self, name: Option<String>) -> Parsed<Expression> {
        let mut matchers = Vec::new();
        if self.accept("{") {
            while !self.accept("}") {
                matchers.push(self.matcher()?);
                if !self.accept(",") && *self.peek() != Token::Symbol("}") {
                    return Err(self.unexpected());
                }
            }
        }
        if let Some(name) = name {
            if matchers.iter().any(|matcher: &Matcher| matcher.label == NAME) {
                return Err(self.error("metric name must not be set twice"));
            }
            matchers.insert(0, Matcher { label: NAME.to_owned(), condition: Condition::Equal(name) });
        }
        if matchers.iter().all(|matcher| matcher.matches("")) {
            return Err(self.error("vector selector must contain at least one non-empty matcher"));
        }
        Ok(Expression::Newest(Selector { matchers, offset: 0 }))
    }

    fn matcher(&mut self) -> Parsed<Matcher> {
        let label = self.label()?;
        let Token::Symbol(symbol @ ("=" | "!=" | "=~" | "!~")) = *self.peek() else { return Err(self.unexpected()) };
        self.next += 1;
        let Token::Text(value) = self.peek().clone() else { return Err(self.unexpected()) };
        let condition = match symbol {
            "=" => Condition::Equal(value),
            "!=" => Condition::NotEqual(value),
            "=~" => Condition::Like(self.regex(&value)?),
            _ => Condition::Unlike(self.regex(&value)?),
        };
        self.next += 1;
        Ok(Matcher { label, condition })
    }

    /// A regular expression that has to match the whole value.
    fn regex(&self, text: &str) -> Parsed<Regex> {
        Regex::new(&format!("^(?s:{text})$"))
            .map_err(|_| self.error(format!("error parsing regexp: {text:?} is not a regular expression")))
    }

    fn binary(
        &self,
        operator: Operator,
        is_bool: bool,
        matching: Option<Matching>,
        left: Expression,
        right: Expression,
    ) -> Parsed<Expression> {
        let kinds = (left.kind(), right.kind());
        let is_number = |kind| matches!(kind, Kind::Scalar | Kind::Instant);
        let problem = if !is_number(kinds.0) || !is_number(kinds.1) {
            Some("binary expression must contain only scalar and instant vector types".to_owned())
        } else if is_bool && !operator.is_comparison() {
            Some("bool modifier can only be used on comparison operators".to_owned())
        } else if operator.is_comparison() && !is_bool && kinds == (Kind::Scalar, Kind::Scalar) {
            Some("comparisons between scalars must use BOOL modifier".to_owned())
        } else if operator.is_set() && kinds != (Kind::Instant, Kind::Instant) {
            Some(format!("set operator {operator:?} not allowed in binary scalar expression"))
        } else if matching.is_some() && kinds != (Kind::Instant, Kind::Instant) {
            Some("vector matching only allowed between instant vectors".to_owned())
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(self.error(problem));
        }
        let matching = matching.unwrap_or(Matching::Ignoring(Vec::new()));
        Ok(Expression::Binary(Box::new(Binary { operator, is_bool, matching, left, right })))
    }

    fn check(&self, expression: &Expression, wanted: Kind, place: &str) -> Parsed<()> {
        let kind = expression.kind();
        if kind == wanted {
            return Ok(());
        }
        Err(self.error(format!("expected type {} in {place}, got {}", wanted.as_str(), kind.as_str())))
    }

    fn peek(&self) -> &Token {
        self.words.get(self.next).map_or(&Token::End, |word| &word.token)
    }

    fn took<T>(&mut self, value: T) -> T {
        self.next += 1;
        value
    }

    fn accept(&mut self, symbol: &str) -> bool {
        let is_it = matches!(self.peek(), Token::Symbol(found) if *found == symbol);
        self.next += usize::from(is_it);
        is_it
    }

    fn is_name(&self, keyword: &str) -> bool {
        matches!(self.peek(), Token::Name(found) if found.eq_ignore_ascii_case(keyword))
    }

    fn accept_name(&mut self, keyword: &str) -> bool {
        let is_it = self.is_name(keyword);
        self.next += usize::from(is_it);
        is_it
    }

    fn expect(&mut self, symbol: &str) -> Parsed<()> {
        if self.accept(symbol) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> ParseError {
        let found = match self.peek() {
            Token::End => "end of input".to_owned(),
            Token::Number(number) => format!("number \"{number}\""),
            Token::Duration(milliseconds) => format!("duration \"{milliseconds}ms\""),
            Token::Text(text) => format!("string {text:?}"),
            Token::Name(name) => format!("identifier {name:?}"),
            Token::Symbol(symbol) => format!("{symbol:?}"),
        };
        self.error(format!("unexpected {found}"))
    }

    fn error(&self, message: impl Into<String>) -> ParseError {
        let position = self.words.get(self.next).or(self.words.last()).map_or(0, |word| word.position);
        ParseError::at(self.text, position, message)
    }
}

//! From tokens to a tree.

use std::collections::VecDeque;

use super::lexer::{Kind, Token};
use super::{NESTING_MAX, Position, TemplateError};

/// A part of a template.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// Text as it stands.
    Text(String),
    /// `{{ pipeline }}`: its value is written, unless it goes into a variable.
    Action(Pipeline),
    /// `{{ if }}`, with one branch for itself and one for each `{{ else if }}`.
    If { branches: Vec<(Pipeline, Vec<Node>)>, otherwise: Vec<Node> },
}

/// Commands, each of which gets the value of the one before as its last argument.
#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    pub(super) target: Option<Target>,
    pub(super) commands: Vec<Command>,
}

/// The variable that takes a pipeline's value: variables are numbered in the order of their declaration.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// `$v := `, the next number.
    Declare,
    /// `$v = `.
    Assign(usize),
}

/// What to call or give, and with which arguments.
#[derive(Clone, Debug)]
pub(super) struct Command {
    pub(super) head: Operand,
    pub(super) arguments: Vec<Operand>,
}

/// A value, and the fields that are taken of it.
#[derive(Clone, Debug)]
pub(super) struct Operand {
    pub(super) at: Position,
    pub(super) term: Term,
    pub(super) fields: Vec<String>,
}

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Term {
    String(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    /// A call; without arguments unless it is the head of a command.
    Function(Function),
    /// The variable of this number.
    Variable(usize),
    Parentheses(Box<Pipeline>),
}

macro_rules! functions {
    ($($variant:ident $name:literal $least:literal $most:expr;)*) => {
        /// A function that templates can call.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Function { $($variant),* }

        impl Function {
            const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in templates.
            pub(super) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// Fewest and most arguments.
            fn arity(self) -> (usize, usize) {
                match self { $(Self::$variant => ($least, $most)),* }
            }
        }
    };
}

functions! {
    Name "name" 0 0;
    Namespace "namespace" 0 0;
    Target "target" 0 0;
    Service "service" 0 0;
    Ingress "ingress" 0 0;
    Route "route" 0 0;
    Interval "interval" 0 0;
    Variables "variables" 0 0;
    Printf "printf" 1 usize::MAX;
    Print "print" 0 usize::MAX;
    Println "println" 0 usize::MAX;
    Len "len" 1 1;
    Index "index" 2 2;
    Eq "eq" 2 usize::MAX;
    Ne "ne" 2 2;
    Lt "lt" 2 2;
    Le "le" 2 2;
    Gt "gt" 2 2;
    Ge "ge" 2 2;
    And "and" 1 usize::MAX;
    Or "or" 1 usize::MAX;
    Not "not" 1 1;
}

/// Parses a whole template.
pub(super) fn parse(tokens: Vec<Token>) -> Result<Vec<Node>, TemplateError> {
    let end = tokens.last().map_or(Position { line: 1, column: 1 }, |token| token.at);
    let mut parser = Parser { tokens: tokens.into(), end, variables: Vec::new(), nesting: 0 };
    let (nodes, closer) = parser.block()?;
    match closer {
        Closer::Nothing => Ok(nodes),
        Closer::End(at) => Err(TemplateError::at(at, "`end` without an `if` before it")),
        Closer::Else(at) => Err(TemplateError::at(at, "`else` without an `if` before it")),
    }
}

/// What ended a block. After `else`, the parser stands behind that word.
enum Closer {
    Nothing,
    End(Position),
    Else(Position),
}

struct Parser {
    tokens: VecDeque<Token>,
    end: Position,
    /// Names of the variables in scope; the last one of a name counts.
    variables: Vec<String>,
    nesting: usize,
}

impl Parser {
    fn at(&self) -> Position {
        self.tokens.front().map_or(self.end, |token| token.at)
    }

    fn peek(&self) -> Option<&Kind> {
        self.tokens.front().map(|token| &token.kind)
    }

    fn next(&mut self) -> Option<Token> {
        self.tokens.pop_front()
    }

    fn next_if(&mut self, wanted: impl Fn(&Token) -> bool) -> Option<Token> {
        self.tokens.front().is_some_and(wanted).then(|| self.next()).flatten()
    }

    fn skip(&mut self, kind: &Kind) -> bool {
        self.next_if(|token| token.kind == *kind).is_some()
    }

    fn skip_word(&mut self, word: &str) -> bool {
        self.next_if(|token| matches!(&token.kind, Kind::Word(name) if name == word)).is_some()
    }

    fn close(&mut self) -> Result<(), TemplateError> {
        let at = self.at();
        if self.skip(&Kind::Close) { Ok(()) } else { Err(TemplateError::at(at, "`}}` is expected here")) }
    }

    fn enter(&mut self, at: Position) -> Result<(), TemplateError> {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            return Err(TemplateError::at(at, format!("nested more than {NESTING_MAX} levels deep")));
        }
        Ok(())
    }

    /// Nodes up to an `end` or `else` that belongs to an `if` outside, or the end of the template.
    fn block(&mut self) -> Result<(Vec<Node>, Closer), TemplateError> {
        let mut nodes = Vec::new();
        while let Some(token) = self.next() {
            if let Kind::Text(text) = token.kind {
                nodes.push(Node::Text(text));
                continue;
            }
            let at = self.at();
            if self.skip_word("end") {
                self.close()?;
                return Ok((nodes, Closer::End(at)));
            }
            if self.skip_word("else") {
                return Ok((nodes, Closer::Else(at)));
            }
            if self.skip_word("if") {
                nodes.push(self.branches(at)?);
                continue;
            }
            let pipeline = self.pipeline()?;
            self.close()?;
            nodes.push(Node::Action(pipeline));
        }
        Ok((nodes, Closer::Nothing))
    }

    /// Everything behind `if`, up to its `end`.
    fn branches(&mut self, at: Position) -> Result<Node, TemplateError> {
        self.enter(at)?;
        let outer = self.variables.len();
        let mut branches = Vec::new();
        let mut otherwise = None;
        loop {
            let condition = if otherwise.is_none() { Some(self.pipeline()?) } else { None };
            self.close()?;
            let scope = self.variables.len();
            let (nodes, closer) = self.block()?;
            self.variables.truncate(scope);
            match condition {
                Some(condition) => branches.push((condition, nodes)),
                None => otherwise = Some(nodes),
            }
            match closer {
                Closer::End(_) => break,
                Closer::Nothing => return Err(TemplateError::at(at, "the `if` is not closed; add `{{ end }}`")),
                Closer::Else(at) if otherwise.is_some() => {
                    return Err(TemplateError::at(at, "a second `else`; only `else if` can be repeated"));
                }
                Closer::Else(_) if self.skip_word("if") => {}
                Closer::Else(_) => otherwise = Some(Vec::new()),
            }
        }
        self.variables.truncate(outer);
        self.nesting -= 1;
        Ok(Node::If { branches, otherwise: otherwise.unwrap_or_default() })
    }

    fn pipeline(&mut self) -> Result<Pipeline, TemplateError> {
        let (name, target) = self.target()?;
        let mut commands = vec![self.command(false)?];
        while self.skip(&Kind::Pipe) {
            commands.push(self.command(true)?);
        }
        // Only now: a variable is not in scope in its own declaration.
        self.variables.extend(name);
        Ok(Pipeline { target, commands })
    }

    /// `$v :=` or `$v =` where a pipeline starts so; the name of a variable that it declares.
    fn target(&mut self) -> Result<(Option<String>, Option<Target>), TemplateError> {
        let (Some(Token { kind: Kind::Variable(name), at, .. }), Some(sign)) =
            (self.tokens.front(), self.tokens.get(1))
        else {
            return Ok((None, None));
        };
        let (declared, target) = match sign.kind {
            Kind::Declare => (Some(name.clone()), Target::Declare),
            Kind::Assign => (None, Target::Assign(self.variable(name, *at)?)),
            _ => return Ok((None, None)),
        };
        self.tokens.drain(..2);
        Ok((declared, Some(target)))
    }

    /// One command; `piped` says that it gets a value from the command before.
    fn command(&mut self, piped: bool) -> Result<Command, TemplateError> {
        let head = self.operand()?;
        let mut arguments = Vec::new();
        while !matches!(self.peek(), None | Some(Kind::Close | Kind::Pipe | Kind::RightParen)) {
            let argument = self.operand()?;
            if let Term::Function(function) = argument.term {
                check_arity(function, 0, argument.at)?;
            }
            arguments.push(argument);
        }
        let given = arguments.len() + usize::from(piped);
        match head.term {
            Term::Function(function) if head.fields.is_empty() => check_arity(function, given, head.at)?,
            Term::Function(function) => check_arity(function, 0, head.at)?,
            _ => {}
        }
        if given > 0 && (!matches!(head.term, Term::Function(_)) || !head.fields.is_empty()) {
            return Err(TemplateError::at(head.at, "only a function can be given arguments, and this is a value"));
        }
        Ok(Command { head, arguments })
    }

    fn operand(&mut self) -> Result<Operand, TemplateError> {
        let at = self.at();
        let Some(token) = self.next() else {
            return Err(TemplateError::at(at, "a value is expected here"));
        };
        let can_have_fields = matches!(token.kind, Kind::Word(_) | Kind::Variable(_) | Kind::LeftParen);
        let term = match token.kind {
            Kind::String(text) => Term::String(text),
            Kind::Int(number) => Term::Int(number),
            Kind::Float(number) => Term::Float(number),
            Kind::Word(word) if word == "true" || word == "false" => Term::Bool(word == "true"),
            Kind::Word(word) => Term::Function(function(&word, at)?),
            Kind::Variable(name) => Term::Variable(self.variable(&name, at)?),
            Kind::LeftParen => self.parentheses(at)?,
            Kind::Field(name) => return Err(field_of_nothing(&name, at)),
            _ => return Err(TemplateError::at(at, "a value is expected here, such as `target` or a quoted string")),
        };
        let mut fields = Vec::new();
        while can_have_fields
            && let Some(token) = self.next_if(|token| matches!(token.kind, Kind::Field(_)) && !token.spaced)
        {
            match token.kind {
                Kind::Field(name) if !name.is_empty() => fields.push(name),
                _ => return Err(TemplateError::at(token.at, "the name of a field must follow the dot")),
            }
        }
        Ok(Operand { at, term, fields })
    }

    fn parentheses(&mut self, at: Position) -> Result<Term, TemplateError> {
        self.enter(at)?;
        let pipeline = self.pipeline()?;
        if pipeline.target.is_some() {
            return Err(TemplateError::at(at, "a variable can't be set in parentheses"));
        }
        if !self.skip(&Kind::RightParen) {
            return Err(TemplateError::at(at, "the parenthesis is not closed; add `)`"));
        }
        self.nesting -= 1;
        Ok(Term::Parentheses(Box::new(pipeline)))
    }

    fn variable(&self, name: &str, at: Position) -> Result<usize, TemplateError> {
        self.variables.iter().rposition(|known| known == name).ok_or_else(|| {
            let known = self.variables.iter().map(String::as_str);
            let hint = nearest(name, known).map_or_else(
                || format!("; declare it before with `{{{{ ${name} := ... }}}}`"),
                |near| format!("; did you mean `${near}`?"),
            );
            TemplateError::at(at, format!("unknown variable `${name}`{hint}"))
        })
    }
}

fn check_arity(function: Function, given: usize, at: Position) -> Result<(), TemplateError> {
    let (least, most) = function.arity();
    if (least..=most).contains(&given) {
        return Ok(());
    }
    let wanted = match (least, most) {
        (0, 0) => "no arguments".to_owned(),
        (least, most) if least == most => format!("{least} argument(s)"),
        (least, _) => format!("at least {least} argument(s)"),
    };
    Err(TemplateError::at(at, format!("`{}` takes {wanted}, not {given}", function.name())))
}

fn function(word: &str, at: Position) -> Result<Function, TemplateError> {
    if let Some(function) = Function::ALL.iter().find(|function| function.name() == word) {
        return Ok(*function);
    }
    let message = match word {
        "range" | "with" | "define" | "template" | "block" | "break" | "continue" | "nil" | "call" | "html" | "js"
        | "slice" | "urlquery" => format!("`{word}` of Go's templates is not supported in metric templates"),
        "end" | "else" | "if" => format!("`{word}` must be the first word of its action"),
        _ => {
            let names = || Function::ALL.iter().map(|function| function.name());
            let hint = nearest(word, names()).map_or_else(
                || format!("known are {}", names().collect::<Vec<_>>().join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            format!("unknown function `{word}`; {hint}")
        }
    };
    Err(TemplateError::at(at, message))
}

/// `.x` where nothing is that could have a field: people who know Helm write `.namespace`.
fn field_of_nothing(name: &str, at: Position) -> TemplateError {
    let known = Function::ALL.iter().find(|function| function.name() == name);
    let hint = known.map_or_else(
        || "write `variables.NAME` for a template variable".to_owned(),
        |function| format!("write `{}` without the dot", function.name()),
    );
    TemplateError::at(at, format!("there is no data behind `.{name}`; {hint}"))
}

/// Longest name, in bytes, that is compared letter by letter: the time that takes grows with the product of the lengths.
const COMPARED_BYTES_MAX: usize = 100;

/// The candidate that `word` is most likely a misspelling of.
pub(super) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .filter(|candidate| word.len().max(candidate.len()) <= COMPARED_BYTES_MAX)
        .map(|candidate| (strsim::osa_distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 2 && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

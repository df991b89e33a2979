//! From a tree and a context to text.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::format::{display, printf};
use super::parser::{Command, Function, Node, Operand, Pipeline, Target, Term, nearest};
use super::{Context, Position, RENDERED_BYTES_MAX, TemplateError};

/// What a pipeline gives.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    String(Rc<str>),
    Int(i64),
    Float(f64),
    Bool(bool),
    Map(&'a BTreeMap<String, String>),
}

impl Value<'_> {
    /// The kind as users name it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Int(_) => "a whole number",
            Self::Float(_) => "a number with a fraction",
            Self::Bool(_) => "a boolean",
            Self::Map(_) => "a map",
        }
    }

    /// Go's truth: everything but its type's zero value.
    fn is_true(&self) -> bool {
        match self {
            Self::String(text) => !text.is_empty(),
            Self::Int(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Bool(truth) => *truth,
            Self::Map(map) => !map.is_empty(),
        }
    }
}

/// Renders a whole template.
pub(super) fn render(nodes: &[Node], context: &Context<'_>) -> Result<String, TemplateError> {
    let mut evaluator = Evaluator { context, variables: Vec::new(), budget: RENDERED_BYTES_MAX, output: String::new() };
    evaluator.nodes(nodes)?;
    Ok(evaluator.output)
}

struct Evaluator<'a> {
    context: &'a Context<'a>,
    /// Values of the variables in scope, by the numbers that the parser gave them.
    variables: Vec<Value<'a>>,
    /// Bytes that may still be produced.
    budget: usize,
    output: String,
}

impl<'a> Evaluator<'a> {
    fn nodes(&mut self, nodes: &[Node]) -> Result<(), TemplateError> {
        let scope = self.variables.len();
        for node in nodes {
            match node {
                Node::Text(text) => {
                    self.spend(text.len(), Position { line: 1, column: 1 })?;
                    self.output.push_str(text);
                }
                Node::Action(pipeline) => self.action(pipeline)?,
                Node::If { branches, otherwise } => self.branches(branches, otherwise)?,
            }
        }
        // The outermost block is the end of the rendering, so its variables may go as well.
        self.variables.truncate(scope);
        Ok(())
    }

    fn action(&mut self, pipeline: &Pipeline) -> Result<(), TemplateError> {
        let value = self.pipeline(pipeline)?;
        if pipeline.target.is_none() {
            let text = display(&value);
            self.spend(text.len(), position(pipeline))?;
            self.output.push_str(&text);
        }
        Ok(())
    }

    fn branches(&mut self, branches: &[(Pipeline, Vec<Node>)], otherwise: &[Node]) -> Result<(), TemplateError> {
        let scope = self.variables.len();
        let mut chosen = otherwise;
        for (condition, nodes) in branches {
            if self.pipeline(condition)?.is_true() {
                chosen = nodes;
                break;
            }
        }
        self.nodes(chosen)?;
        self.variables.truncate(scope);
        Ok(())
    }

    /// The value of a pipeline, which is also stored where the pipeline says so.
    fn pipeline(&mut self, pipeline: &Pipeline) -> Result<Value<'a>, TemplateError> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, value)?);
        }
        let value = value.ok_or_else(|| TemplateError::at(position(pipeline), "the pipeline is empty"))?;
        match pipeline.target {
            Some(Target::Declare) => self.variables.push(value.clone()),
            Some(Target::Assign(number)) => {
                if let Some(variable) = self.variables.get_mut(number) {
                    *variable = value.clone();
                }
            }
            None => {}
        }
        Ok(value)
    }

    fn command(&mut self, command: &Command, piped: Option<Value<'a>>) -> Result<Value<'a>, TemplateError> {
        let head = &command.head;
        match head.term {
            Term::Function(decision @ (Function::And | Function::Or)) if head.fields.is_empty() => {
                self.decide(decision == Function::Or, &command.arguments, piped, head.at)
            }
            Term::Function(function) if head.fields.is_empty() => {
                let mut arguments = Vec::with_capacity(command.arguments.len() + 1);
                for argument in &command.arguments {
                    arguments.push(self.operand(argument)?);
                }
                arguments.extend(piped);
                self.call(function, &arguments, head.at)
            }
            _ => self.operand(head),
        }
    }

    /// `and` gives its first false argument and `or` its first true one, else the last; the others are not evaluated.
    fn decide(
        &mut self,
        until: bool,
        arguments: &[Operand],
        piped: Option<Value<'a>>,
        at: Position,
    ) -> Result<Value<'a>, TemplateError> {
        let mut last = None;
        for argument in arguments {
            let value = self.operand(argument)?;
            if value.is_true() == until {
                return Ok(value);
            }
            last = Some(value);
        }
        piped.or(last).ok_or_else(|| TemplateError::at(at, "an argument is missing"))
    }

    fn operand(&mut self, operand: &Operand) -> Result<Value<'a>, TemplateError> {
        let at = operand.at;
        let mut value = match &operand.term {
            Term::String(text) => self.string(text, at)?,
            Term::Int(number) => Value::Int(*number),
            Term::Float(number) => Value::Float(*number),
            Term::Bool(truth) => Value::Bool(*truth),
            Term::Function(function) => self.call(*function, &[], at)?,
            Term::Variable(number) => {
                self.variables.get(*number).cloned().ok_or_else(|| TemplateError::at(at, "the variable is not set"))?
            }
            Term::Parentheses(pipeline) => self.pipeline(pipeline)?,
        };
        for field in &operand.fields {
            value = self.field(&value, field, at)?;
        }
        Ok(value)
    }

    /// A field that is not there is an error (`missingkey=error`).
    fn field(&mut self, value: &Value<'a>, field: &str, at: Position) -> Result<Value<'a>, TemplateError> {
        let Value::Map(map) = value else {
            let message = format!("`.{field}` is asked of {}; only `variables` has fields", value.kind());
            return Err(TemplateError::at(at, message));
        };
        if let Some(text) = map.get(field) {
            return self.string(text, at);
        }
        let near = nearest(field, map.keys().map(String::as_str));
        let near = near.map_or_else(String::new, |near| format!(" (did you mean `{near}`?)"));
        let message = format!("`variables.{field}` is not set{near}; add `{field}` to templateVariables of the metric");
        Err(TemplateError::at(at, message))
    }

    fn call(&mut self, function: Function, arguments: &[Value<'a>], at: Position) -> Result<Value<'a>, TemplateError> {
        let subject = self.context.subject;
        match function {
            Function::Name => self.string(&subject.name, at),
            Function::Namespace => self.string(&subject.namespace, at),
            Function::Target => self.string(&subject.target, at),
            Function::Service => self.string(&subject.service, at),
            Function::Ingress => self.string(&subject.ingress, at),
            Function::Route => self.string(&subject.route, at),
            Function::Interval => self.string(self.context.interval, at),
            Function::Variables => Ok(Value::Map(self.context.variables)),
            Function::Printf => {
                let text = printf(arguments, self.budget).map_err(|message| TemplateError::at(at, message))?;
                self.string(&text, at)
            }
            Function::Print | Function::Println => {
                let text = self.print(arguments, function == Function::Println, at)?;
                Ok(Value::String(text.into()))
            }
            _ => pure(function, arguments, at).and_then(|value| match value {
                Value::String(text) => self.string(&text, at),
                other => Ok(other),
            }),
        }
    }

    /// Go's `fmt.Sprint`, with a space between two operands of which neither is a string, or `fmt.Sprintln`.
    fn print(&mut self, arguments: &[Value<'a>], line: bool, at: Position) -> Result<String, TemplateError> {
        let mut text = String::new();
        let mut spaced = false;
        for argument in arguments {
            let is_string = matches!(argument, Value::String(_));
            let separator = if spaced && (line || !is_string) { " " } else { "" };
            let shown = display(argument);
            self.spend(shown.len() + 1, at)?;
            text.push_str(separator);
            text.push_str(&shown);
            spaced = line || !is_string;
        }
        if line {
            text.push('\n');
        }
        Ok(text)
    }

    fn string(&mut self, text: &str, at: Position) -> Result<Value<'a>, TemplateError> {
        self.spend(text.len(), at)?;
        Ok(Value::String(text.into()))
    }

    fn spend(&mut self, bytes: usize, at: Position) -> Result<(), TemplateError> {
        self.budget = self.budget.checked_sub(bytes).ok_or_else(|| {
            TemplateError::at(at, format!("the template produces more than {RENDERED_BYTES_MAX} bytes"))
        })?;
        Ok(())
    }
}

/// The functions that know no context.
fn pure<'a>(function: Function, arguments: &[Value<'a>], at: Position) -> Result<Value<'a>, TemplateError> {
    let name = function.name();
    match (function, arguments) {
        (Function::Not, [value]) => Ok(Value::Bool(!value.is_true())),
        (Function::Len, [Value::String(text)]) => Ok(Value::Int(i64::try_from(text.len()).unwrap_or(i64::MAX))),
        (Function::Len, [Value::Map(map)]) => Ok(Value::Int(i64::try_from(map.len()).unwrap_or(i64::MAX))),
        (Function::Index, [Value::Map(map), Value::String(key)]) => {
            Ok(Value::String(map.get(&**key).map_or("", String::as_str).into()))
        }
        (Function::Eq, [first, rest @ ..]) => {
            for other in rest {
                if compare(first, other, at)? == Ordering::Equal {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        (_, [first, second]) if matches!(name, "ne" | "lt" | "le" | "gt" | "ge") => {
            let order = compare(first, second, at)?;
            Ok(Value::Bool(match function {
                Function::Ne => order.is_ne(),
                Function::Lt => order.is_lt(),
                Function::Le => order.is_le(),
                Function::Gt => order.is_gt(),
                _ => order.is_ge(),
            }))
        }
        _ => {
            let kinds: Vec<&str> = arguments.iter().map(Value::kind).collect();
            Err(TemplateError::at(at, format!("`{name}` can't be used on {}", kinds.join(" and "))))
        }
    }
}

/// Compares two values of one kind; anything else is an error, as in Go.
fn compare(first: &Value<'_>, second: &Value<'_>, at: Position) -> Result<Ordering, TemplateError> {
    let order = match (first, second) {
        (Value::String(first), Value::String(second)) => Some(first.cmp(second)),
        (Value::Int(first), Value::Int(second)) => Some(first.cmp(second)),
        (Value::Float(first), Value::Float(second)) => first.partial_cmp(second),
        (Value::Bool(first), Value::Bool(second)) => Some(first.cmp(second)),
        _ => None,
    };
    order.ok_or_else(|| {
        let message = format!("{} can't be compared with {}; give both the same type", first.kind(), second.kind());
        TemplateError::at(at, message)
    })
}

fn position(pipeline: &Pipeline) -> Position {
    pipeline.commands.first().map_or(Position { line: 1, column: 1 }, |command| command.head.at)
}

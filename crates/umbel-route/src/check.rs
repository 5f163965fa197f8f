//! Says what is wrong with an expression before it is set: where it does not parse, names what
//! is not there, or can never be evaluated for the types that it mixes.
//!
//! An input is JSON of any form, so what is taken out of it may be anything ([`Type::Any`]) and
//! only what is certain to fail is a mistake.

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, SelectExpr};
use cel::common::ast::{SourceInfo, operators};
use umbel_core::limit;

use crate::expression;

/// What is wrong with an expression, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong, in words.
    pub message: String,
}

/// Checks a rule's expression.
///
/// # Errors
///
/// The first mistake in it.
pub fn check(source: &str) -> Result<(), Mistake> {
    expression::parse(source).map(drop)
}

/// Loops within one another that an expression may have: with each the time that it takes grows
/// by the length of the input.
const LOOPS_MAX: usize = 1;

/// As much as is known of what an expression gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Any,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Null,
    List,
    Map,
    Class,
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Self::Any => "anything",
            Self::Bool => "a boolean",
            Self::Int => "a whole number",
            Self::Uint => "an unsigned number",
            Self::Double => "a number with a fraction",
            Self::String => "a string",
            Self::Bytes => "bytes",
            Self::Null => "null",
            Self::List => "a list",
            Self::Map => "a map",
            Self::Class => "a type",
        }
    }

    fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Uint | Self::Double)
    }

    fn may_be(self, other: Self) -> bool {
        self == Self::Any || self == other
    }

    fn may_be_any(self, others: &[Self]) -> bool {
        self == Self::Any || others.contains(&self)
    }

    /// Whether the two can be compared.
    fn compares(self, other: Self) -> bool {
        self == Self::Any
            || other == Self::Any
            || self == other
            || (self.is_number() && other.is_number())
    }
}

/// A function: its name, whether it is called on something, what it takes (each one of some
/// types; none: anything) and what it gives.
type Signature = (&'static str, bool, &'static [&'static [Type]], Type);

const SIZED: &[Type] = &[Type::String, Type::Bytes, Type::List, Type::Map];
const TEXT: &[Type] = &[Type::String];
const ANY: &[Type] = &[];
const NUMBERS: &[Type] = &[Type::Int, Type::Uint, Type::Double, Type::String];
const FUNCTIONS: &[Signature] = &[
    ("size", false, &[SIZED], Type::Int),
    ("size", true, &[SIZED], Type::Int),
    ("contains", true, &[TEXT, TEXT], Type::Bool),
    ("startsWith", true, &[TEXT, TEXT], Type::Bool),
    ("endsWith", true, &[TEXT, TEXT], Type::Bool),
    ("matches", true, &[TEXT, TEXT], Type::Bool),
    ("matches", false, &[TEXT, TEXT], Type::Bool),
    ("int", false, &[NUMBERS], Type::Int),
    ("uint", false, &[NUMBERS], Type::Uint),
    ("double", false, &[NUMBERS], Type::Double),
    ("bool", false, &[&[Type::Bool, Type::String]], Type::Bool),
    ("string", false, &[ANY], Type::String),
    ("bytes", false, &[&[Type::String, Type::Bytes]], Type::Bytes),
    ("type", false, &[ANY], Type::Class),
    ("dyn", false, &[ANY], Type::Any),
];

/// The types that can be compared with what `type()` gives.
const TYPE_NAMES: [&str; 10] = [
    "int",
    "uint",
    "double",
    "bool",
    "string",
    "bytes",
    "list",
    "map",
    "null_type",
    "type",
];

/// Walks a tree and knows what its names stand for.
pub(crate) struct Checker<'a> {
    source: &'a SourceInfo,
    text: &'a str,
    scope: Vec<(String, Type)>,
    loops: usize,
}

impl<'a> Checker<'a> {
    /// Checks the tree that was parsed of a text.
    pub(crate) fn check(
        source: &'a SourceInfo,
        text: &'a str,
        tree: &IdedExpr,
    ) -> Result<(), Mistake> {
        let mut checker = Self {
            source,
            text,
            scope: Vec::new(),
            loops: 0,
        };
        let given = checker.of(tree)?;
        if given.may_be(Type::Bool) {
            return Ok(());
        }
        let message = format!("a rule is true or false, and this is {}", given.name());
        Err(checker.mistake(tree, message))
    }

    fn mistake(&self, at: &IdedExpr, message: String) -> Mistake {
        let offset = self.source.offset_for(at.id).map_or(0, |(start, _)| start);
        place(self.text, usize::try_from(offset).unwrap_or(0), message)
    }

    fn of(&mut self, tree: &IdedExpr) -> Result<Type, Mistake> {
        match &tree.expr {
            Expr::Literal(literal) => Ok(literal_type(literal)),
            Expr::Ident(name) => self.ident(tree, name),
            Expr::Select(select) => self.select(tree, select),
            Expr::Call(call) => self.call(tree, call),
            Expr::List(list) => {
                for element in &list.elements {
                    self.of(element)?;
                }
                Ok(Type::List)
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let cel::common::ast::EntryExpr::MapEntry(entry) = &entry.expr {
                        self.of(&entry.key)?;
                        self.of(&entry.value)?;
                    }
                }
                Ok(Type::Map)
            }
            Expr::Comprehension(comprehension) => self.comprehension(tree, comprehension),
            Expr::Struct(made) => {
                let message = format!("there is no type {:?} to make one of", made.type_name);
                Err(self.mistake(tree, message))
            }
            Expr::Unspecified => Err(self.mistake(tree, "there is nothing here".to_owned())),
        }
    }

    fn ident(&self, tree: &IdedExpr, name: &str) -> Result<Type, Mistake> {
        let mut scope = self.scope.iter().rev();
        if let Some((_, known)) = scope.find(|(known, _)| known == name) {
            return Ok(*known);
        }
        match name {
            "input" => Ok(Type::Any),
            "labels" => Ok(Type::Map),
            "size" => Ok(Type::Int),
            _ if TYPE_NAMES.contains(&name) => Ok(Type::Class),
            _ => {
                let message = format!(
                    "nothing is named {name:?}; a rule knows input (the input's JSON), labels (of \
                     the job) and size (the input's bytes)"
                );
                Err(self.mistake(tree, message))
            }
        }
    }

    fn select(&mut self, tree: &IdedExpr, select: &SelectExpr) -> Result<Type, Mistake> {
        let of = self.of(&select.operand)?;
        if !of.may_be(Type::Map) {
            let message = format!("{} has no field {:?}", of.name(), select.field);
            return Err(self.mistake(tree, message));
        }
        let is_labels = matches!(&select.operand.expr, Expr::Ident(name) if name == "labels");
        Ok(match () {
            () if select.test => Type::Bool,
            () if is_labels => Type::String,
            () => Type::Any,
        })
    }

    fn call(&mut self, tree: &IdedExpr, call: &CallExpr) -> Result<Type, Mistake> {
        let mut given = Vec::new();
        for operand in call.target.iter().map(AsRef::as_ref).chain(&call.args) {
            given.push((operand, self.of(operand)?));
        }
        if let Some(gives) = self.operator(tree, &call.func_name, &given)? {
            return Ok(gives);
        }
        let name = call.func_name.as_str();
        let is_member = call.target.is_some();
        let mut named = FUNCTIONS
            .iter()
            .filter(|(known, ..)| *known == name)
            .peekable();
        if named.peek().is_none() {
            let mut known: Vec<&str> = FUNCTIONS.iter().map(|(name, ..)| *name).collect();
            known.dedup();
            let message = format!(
                "there is no function {name:?}; there are {}",
                known.join(", ")
            );
            return Err(self.mistake(tree, message));
        }
        let found =
            named.find(|(_, member, takes, _)| *member == is_member && takes.len() == given.len());
        let Some((_, _, takes, gives)) = found else {
            let message = format!("{name} is not called like this");
            return Err(self.mistake(tree, message));
        };
        for (takes, (operand, given)) in takes.iter().zip(&given) {
            if !takes.is_empty() && !given.may_be_any(takes) {
                let message = format!("{name} does not take {}", given.name());
                return Err(self.mistake(operand, message));
            }
        }
        Ok(*gives)
    }

    /// What an operator gives; none: the name is no operator's.
    fn operator(
        &self,
        tree: &IdedExpr,
        name: &str,
        given: &[(&IdedExpr, Type)],
    ) -> Result<Option<Type>, Mistake> {
        let wants_bools = |from: &[(&IdedExpr, Type)]| {
            let wrong = from.iter().find(|(_, given)| !given.may_be(Type::Bool));
            wrong.map_or(Ok(()), |(operand, given)| {
                let message = format!("this is {}, where true or false is wanted", given.name());
                Err(self.mistake(operand, message))
            })
        };
        let gives = match (name, given) {
            (operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT, all)
            | (operators::NOT_STRICTLY_FALSE, all) => {
                wants_bools(all)?;
                Type::Bool
            }
            (operators::CONDITIONAL, [when, (_, a), (_, b)]) => {
                wants_bools(&[*when])?;
                if a == b { *a } else { Type::Any }
            }
            (operators::EQUALS | operators::NOT_EQUALS, [(_, a), (_, b)]) => {
                // With null anything may be compared: it is how a field is found missing.
                let null = [a, b].contains(&&Type::Null);
                self.compare(tree, null || a.compares(*b), (*a, *b))?
            }
            (
                operators::LESS
                | operators::LESS_EQUALS
                | operators::GREATER
                | operators::GREATER_EQUALS,
                [(_, a), (_, b)],
            ) => {
                let unordered = [Type::List, Type::Map, Type::Null, Type::Class];
                let ordered = ![a, b].iter().any(|one| unordered.contains(one));
                self.compare(tree, ordered && a.compares(*b), (*a, *b))?
            }
            (operators::IN, [_, (within, of)]) => {
                if !of.may_be_any(&[Type::List, Type::Map]) {
                    let message = format!("nothing is in {}", of.name());
                    return Err(self.mistake(within, message));
                }
                Type::Bool
            }
            (operators::INDEX, [(within, of), _]) => {
                if !of.may_be_any(&[Type::List, Type::Map]) {
                    let message = format!("{} has no elements", of.name());
                    return Err(self.mistake(within, message));
                }
                Type::Any
            }
            (operators::NEGATE, [(operand, of)]) => {
                if !of.may_be_any(&[Type::Int, Type::Double]) {
                    let message = format!("{} has no negative", of.name());
                    return Err(self.mistake(operand, message));
                }
                *of
            }
            (
                operators::ADD
                | operators::SUBSTRACT
                | operators::MULTIPLY
                | operators::DIVIDE
                | operators::MODULO,
                [(_, a), (_, b)],
            ) => self.arithmetic(tree, name, (*a, *b))?,
            _ => return Ok(None),
        };
        Ok(Some(gives))
    }

    fn compare(&self, tree: &IdedExpr, can: bool, (a, b): (Type, Type)) -> Result<Type, Mistake> {
        if can {
            return Ok(Type::Bool);
        }
        let message = format!("{} cannot be compared with {}", a.name(), b.name());
        Err(self.mistake(tree, message))
    }

    fn arithmetic(
        &self,
        tree: &IdedExpr,
        name: &str,
        (a, b): (Type, Type),
    ) -> Result<Type, Mistake> {
        let takes: &[Type] = match name {
            operators::ADD => &[
                Type::Int,
                Type::Uint,
                Type::Double,
                Type::String,
                Type::Bytes,
                Type::List,
            ],
            operators::MODULO => &[Type::Int, Type::Uint],
            _ => &[Type::Int, Type::Uint, Type::Double],
        };
        let fits = a.may_be_any(takes) && b.may_be_any(takes);
        let same = a == b || a == Type::Any || b == Type::Any;
        if !fits || !same {
            let sign = name.trim_matches('_');
            let message = format!(
                "{} {sign} {} has no meaning; int() and double() turn one into the other",
                a.name(),
                b.name()
            );
            return Err(self.mistake(tree, message));
        }
        Ok(if a == Type::Any { b } else { a })
    }

    fn comprehension(
        &mut self,
        tree: &IdedExpr,
        loops: &ComprehensionExpr,
    ) -> Result<Type, Mistake> {
        let over = self.of(&loops.iter_range)?;
        if !over.may_be_any(&[Type::List, Type::Map]) {
            let message = format!("{} has no elements", over.name());
            return Err(self.mistake(&loops.iter_range, message));
        }
        if self.loops >= LOOPS_MAX {
            let message = "a loop within a loop would take too long over a long input".to_owned();
            return Err(self.mistake(tree, message));
        }
        let first = self.of(&loops.accu_init)?;
        let depth = self.scope.len();
        self.loops += 1;
        self.scope.push((loops.accu_var.clone(), first));
        let variables = [Some(&loops.iter_var), loops.iter_var2.as_ref()];
        let variables = variables.into_iter().flatten();
        self.scope
            .extend(variables.map(|name| (name.clone(), Type::Any)));
        let walked = self
            .of(&loops.loop_cond)
            .and_then(|_| self.of(&loops.loop_step));
        self.scope.truncate(depth + 1);
        let result = walked.and_then(|_| self.of(&loops.result));
        self.scope.truncate(depth);
        self.loops -= 1;
        result
    }
}

fn literal_type(literal: &LiteralValue) -> Type {
    match literal {
        LiteralValue::Boolean(_) => Type::Bool,
        LiteralValue::Bytes(_) => Type::Bytes,
        LiteralValue::Double(_) => Type::Double,
        LiteralValue::Int(_) => Type::Int,
        LiteralValue::Null => Type::Null,
        LiteralValue::String(_) => Type::String,
        LiteralValue::UInt(_) => Type::Uint,
    }
}

/// A mistake at an offset of a text, in characters.
fn place(text: &str, offset: usize, message: String) -> Mistake {
    let before = text.chars().take(offset);
    let (mut line, mut column) = (1, 1);
    for one in before {
        if one == '\n' {
            line += 1;
            column = 1;
        } else {
            column += 1;
        }
    }
    Mistake {
        line,
        column,
        message,
    }
}

/// The mistake of a text that is too long.
pub(crate) fn too_long(bytes: usize) -> Mistake {
    let limit = limit::RULE_BYTES_MAX;
    Mistake {
        line: 1,
        column: 1,
        message: format!(
            "the expression has {bytes} bytes, more than the {limit} that one may have"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_evaluated_is_taken() {
        for source in [
            "input.country == \"DE\"",
            "input.country in [\"DE\", 'FR'] && size > 100",
            "has(input.user) && input.user.plan == \"pro\" || labels.env == \"test\"",
            "input.items.exists(i, i.price > 10.5)",
            "input.tags.all(t, t.startsWith(\"a\") || t.matches(\"^b+$\"))",
            "input > 1000",
            "size(input.name) % 2 == 0",
            "\"beta\" in labels && labels[\"beta\"] != \"\"",
            "input.a ? input.b : true",
            "type(input) == string",
            "input.beta",
            "input.price * 2.0 < 10.0",
            "input.maybe == null",
            "!(input.n == 1) && -input.n < 5",
            "true",
        ] {
            assert_eq!(check(source), Ok(()), "{source}");
        }
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        for (source, line, column, message) in [
            ("input.country = \"DE\"", 1, 15, ""),
            (
                "inptu.country == \"DE\"",
                1,
                1,
                "nothing is named \"inptu\"",
            ),
            ("true &&\n  input.age >> 3", 2, 14, ""),
            (
                "size == \"big\"",
                1,
                6,
                "a whole number cannot be compared with a string",
            ),
            (
                "size + 1",
                1,
                6,
                "a rule is true or false, and this is a whole number",
            ),
            (
                "input.x.startswith(\"a\")",
                1,
                19,
                "there is no function \"startswith\"",
            ),
            ("true && size", 1, 9, "where true or false is wanted"),
            ("size.bytes > 1", 1, 5, "a whole number has no field"),
            ("labels.a > 3", 1, 10, "a string cannot be compared"),
            ("size * 1.5 > 2.0", 1, 6, "has no meaning"),
            (
                "input.a.all(x, input.b.all(y, x == y))",
                1,
                27,
                "a loop within a loop",
            ),
            ("", 1, 1, ""),
            ("Point{x: 1} == input", 1, 6, "there is no type"),
        ] {
            let mistake = check(source).unwrap_err();
            assert!(mistake.message.contains(message), "{source}: {mistake}");
            assert_eq!(
                (mistake.line, mistake.column),
                (line, column),
                "{source}: {mistake}"
            );
        }
    }

    #[test]
    fn hostile_expressions_are_refused_and_end_nothing() {
        let most = limit::RULE_BYTES_MAX;
        for source in [
            "(".repeat(most),
            "!".repeat(most - 4) + "true",
            "[".repeat(most),
            "-".repeat(most),
            "a.".repeat(most / 2),
            "{1:".repeat(most / 3),
            "input".to_owned() + &"[0]".repeat(most / 3 - 3),
            "true?".repeat(most / 5),
            "\"".repeat(most - 1),
            "x".repeat(most + 1),
            "\u{0}\u{202e}".to_owned(),
        ] {
            assert!(
                check(&source).is_err(),
                "{}",
                &source[..20.min(source.len())]
            );
        }
        for (deep, ends) in [("(", ")"), ("[", "]"), ("{1:", "}")] {
            drop(check(&(deep.repeat(48) + "1" + &ends.repeat(48))));
        }
        let sum = "size".to_owned() + &" + 1".repeat(120) + " > 0";
        assert_eq!(check(&sum), Ok(()));
        let evaluate = move || {
            let rule = expression::parse(&sum).unwrap();
            let mut scope = expression::Scope::new(&umbel_core::policy::Labels::new());
            scope.size(3);
            assert_eq!(rule.is_true(&scope), Ok(true));
        };
        let thread = std::thread::Builder::new().stack_size(crate::STACK_BYTES);
        thread.spawn(evaluate).unwrap().join().unwrap();
    }
}

//! Expressions in CEL. The only file that runs any.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};
use std::thread::{self, JoinHandle};

use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use cel::{Context, Env, Program, Value};
use umbel_core::limit;
use umbel_core::policy::Labels;

use crate::check::{self, Checker, Mistake};
use crate::json::Wanted;

/// The functions of the language's standard. Without its optional values: they would be a second
/// way to say that a field is missing.
static ENV: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::stdlib().with_optional_support(false)));

/// An expression that was checked.
pub(crate) struct Expression {
    program: Program,
    /// The fields of the input that it looks at; none: all.
    wanted: Wanted,
}

/// Room for the parser, which takes some tens of kilobytes for each bracket within another. Only
/// what it touches is ever real memory.
const PARSER_STACK_BYTES: usize = 64 << 20;
/// Brackets that an expression may open.
const BRACKETS_MAX: usize = 48;
/// Signs of operators and of fields that it may have: so deep its tree can be.
const SIGNS_MAX: usize = 128;

/// Parses and checks an expression.
pub(crate) fn parse(source: &str) -> Result<Expression, Mistake> {
    if source.len() > limit::RULE_BYTES_MAX {
        return Err(check::too_long(source.len()));
    }
    bound(source)?;
    // A thread of its own, since only there the stack is known to be large enough. Should the
    // parser panic, which it is not known to do, one rule is refused.
    let text = source.to_owned();
    let parser = thread::Builder::new()
        .name("umbel-rule".to_owned())
        .stack_size(PARSER_STACK_BYTES);
    let parsed = parser
        .spawn(move || parse_here(&text))
        .map(JoinHandle::join);
    match parsed {
        Ok(Ok(parsed)) => parsed,
        Ok(Err(_)) => Err(whole("the expression cannot be read".to_owned())),
        Err(error) => Err(whole(format!("the expression cannot be read now: {error}"))),
    }
}

/// Bounds how deep the tree of an expression can be, whatever is a string in it.
fn bound(source: &str) -> Result<(), Mistake> {
    let brackets = source.matches(['(', '[', '{']).count();
    let signs = source
        .matches(|sign| ".!-+*/%<>=?&|[".contains(sign))
        .count();
    let double = ["==", "!=", "<=", ">=", "&&", "||"];
    let double: usize = double.iter().map(|sign| source.matches(sign).count()).sum();
    let signs = signs.saturating_sub(double);
    for (what, has, most) in [
        ("brackets", brackets, BRACKETS_MAX),
        ("signs of operators and fields", signs, SIGNS_MAX),
    ] {
        if has > most {
            let words =
                format!("the expression has {has} {what}, more than the {most} that it may have");
            return Err(whole(words));
        }
    }
    Ok(())
}

/// A mistake of the whole expression.
fn whole(message: String) -> Mistake {
    Mistake {
        line: 1,
        column: 1,
        message,
    }
}

fn parse_here(source: &str) -> Result<Expression, Mistake> {
    let program = ENV
        .compile(source)
        .map_err(|errors| first_of(&errors).unwrap_or_else(|| whole(errors.to_string())))?;
    let tree = program.expression();
    Checker::check(program.source_info(), source, tree)?;
    let mut fields = Some(BTreeSet::new());
    look(tree, &mut fields);
    Ok(Expression {
        program,
        wanted: fields,
    })
}

fn first_of(errors: &cel::ParseErrors) -> Option<Mistake> {
    let first = errors.errors.first()?;
    let (line, column) = first.pos;
    Some(Mistake {
        line: usize::try_from(line).unwrap_or(1).max(1),
        column: usize::try_from(column).unwrap_or(1).max(1),
        message: first.msg.trim().to_owned(),
    })
}

/// Gathers the fields of the input that an expression looks at; none once it takes all of it.
fn look(tree: &IdedExpr, fields: &mut Wanted) {
    match &tree.expr {
        Expr::Select(select) => match &select.operand.expr {
            Expr::Ident(name) if name == "input" => {
                if let Some(fields) = fields {
                    fields.insert(select.field.clone());
                }
            }
            _ => look(&select.operand, fields),
        },
        Expr::Ident(name) if name == "input" => *fields = None,
        Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => {}
        Expr::Call(call) => {
            let target = call.target.iter().map(AsRef::as_ref);
            target.chain(&call.args).for_each(|part| look(part, fields));
        }
        Expr::List(list) => list.elements.iter().for_each(|part| look(part, fields)),
        Expr::Map(map) => {
            for entry in &map.entries {
                if let EntryExpr::MapEntry(entry) = &entry.expr {
                    look(&entry.key, fields);
                    look(&entry.value, fields);
                }
            }
        }
        Expr::Struct(_) => *fields = None,
        Expr::Comprehension(loops) => {
            let parts = [
                &loops.iter_range,
                &loops.accu_init,
                &loops.loop_cond,
                &loops.loop_step,
                &loops.result,
            ];
            parts.into_iter().for_each(|part| look(part, fields));
        }
    }
}

/// What expressions are evaluated in: the labels of a job, then one input after the other.
pub(crate) struct Scope {
    context: Context<'static, 'static>,
}

impl Scope {
    pub(crate) fn new(labels: &Labels) -> Self {
        let mut context = Context::with_env(Arc::clone(&ENV));
        let labels = labels
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()));
        let labels: std::collections::HashMap<String, String> = labels.collect();
        context.add_variable_from_value("labels", labels);
        Self { context }
    }

    pub(crate) fn size(&mut self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.context.add_variable_from_value("size", bytes);
    }

    pub(crate) fn input(&mut self, input: Value) {
        self.context.add_variable_from_value("input", input);
    }
}

impl Expression {
    /// The fields of the input that it looks at; none: all.
    pub(crate) fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Whether it is true of what is in scope.
    ///
    /// # Errors
    ///
    /// Why it cannot be told, in words.
    pub(crate) fn is_true(&self, scope: &Scope) -> Result<bool, String> {
        let evaluated = catch_unwind(AssertUnwindSafe(|| self.program.execute(&scope.context)));
        match evaluated {
            Ok(Ok(Value::Bool(is_true))) => Ok(is_true),
            Ok(Ok(other)) => Err(format!(
                "it gives {}, neither true nor false",
                other.type_of()
            )),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("it cannot be evaluated".to_owned()),
        }
    }
}

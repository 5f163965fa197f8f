//! Functions for Node.

use super::*;

fn node(test: &str, file_name: &str, source: &str) -> Option<Case> {
    tool(test, "node", "node")?;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(file_name), source).unwrap();
    let lambda = Lambda::node("case", folder.path(), Some("app.handler")).unwrap();
    Some(Case {
        lambda,
        _folder: folder,
    })
}

#[test]
fn a_node_function_answers_in_each_of_its_forms() {
    let name = "a_node_function_answers_in_each_of_its_forms";
    for (file_name, source) in [
        (
            "app.js",
            "exports.handler = async (event, context) => ({ got: event, id: context.awsRequestId.length > 0 });",
        ),
        (
            "app.js",
            "exports.handler = (event, context, done) => setTimeout(() => done(null, { got: event, id: true }), 1);",
        ),
        (
            "app.mjs",
            "export const handler = (event) => ({ got: event, id: true });",
        ),
    ] {
        let Some(case) = node(name, file_name, source) else {
            return;
        };
        assert_eq!(
            output(&case.lambda, r#"{"a":1}"#).unwrap(),
            r#"{"got":{"a":1},"id":true}"#
        );
        assert_eq!(
            output(&case.lambda, "no json").unwrap(),
            r#"{"got":"no json","id":true}"#
        );
    }
}

#[test]
fn an_error_of_node_is_a_failure_with_its_type_and_stack() {
    let source = "exports.handler = async (event) => { console.log('one'); console.error('two'); return event.a.b; };";
    let name = "an_error_of_node_is_a_failure_with_its_type_and_stack";
    let Some(case) = node(name, "app.js", source) else {
        return;
    };
    let failure = output(&case.lambda, "{}").unwrap_err();
    assert_eq!(failure.kind, FailureKind::Function);
    assert_eq!(failure.error_type, "TypeError");
    assert!(failure.log.starts_with("one\ntwo\n"), "{}", failure.log);
    assert!(failure.log.contains("app.js"), "{}", failure.log);
    assert!(!failure.log.contains("bootstrap.cjs"), "{}", failure.log);
}

#[test]
fn what_node_does_not_catch_ends_the_instance_and_names_the_error() {
    let source = "exports.handler = () => new Promise(() => setTimeout(() => { throw new RangeError('late'); }, 1));";
    let name = "what_node_does_not_catch_ends_the_instance_and_names_the_error";
    let Some(case) = node(name, "app.js", source) else {
        return;
    };
    for _ in 0..2 {
        let failure = output(&case.lambda, "{}").unwrap_err();
        assert_eq!(failure.error_type, "RangeError");
        assert_eq!(failure.message, "late");
    }
}

#[test]
fn a_node_module_that_does_not_load_is_an_init_error() {
    let name = "a_node_module_that_does_not_load_is_an_init_error";
    for source in [
        "require('no-such-module');",
        "exports.other = () => 1;",
        "throw new Error('no');",
        "syntax error",
    ] {
        let Some(case) = node(name, "app.js", source) else {
            return;
        };
        let failure = output(&case.lambda, "{}").unwrap_err();
        assert_eq!(failure.error_type, "InitError", "{source}: {failure}");
    }
}

#[test]
fn much_that_node_prints_is_heard_to_its_end_within_its_own_invocation() {
    let source = "
exports.handler = async (event) => {
  if (event === 'quiet') return 'quiet';
  for (let n = 0; n < 64; n++) process.stdout.write('x'.repeat(1_000_000));
  process.stdout.write('the last words');
  throw new RangeError('enough');
};
";
    let name = "much_that_node_prints_is_heard_to_its_end_within_its_own_invocation";
    let Some(case) = node(name, "app.js", source) else {
        return;
    };
    let failure = output(&case.lambda, "loud").unwrap_err();
    assert_eq!(failure.error_type, "RangeError");
    assert!(failure.log.contains("the last words"), "{}", failure.log);
    let cancel = CancelFlag::new();
    let kept = Context {
        limits: Limits {
            keep_log: true,
            ..Limits::DEFAULT
        },
        ..context(&cancel)
    };
    let quiet = run(&case.lambda, b"quiet", &mut Vec::new(), &kept);
    quiet.outcome.unwrap();
    assert_eq!(quiet.log.as_deref(), Some(""));
}

//! Manifests, good and bad.

use std::time::Duration;

use super::*;

const GOOD: &str = r#"
spin_manifest_version = 2
[application]
name = "shop"
[variables]
key = { required = true, secret = true }
[[trigger.http]]
route = "/v1/..."
component = "ocr"
[component.ocr]
source = "target/ocr.wasm"
[component.ocr.build]
command = "make"
[component.ocr.variables]
api_key = "{{ key }}"
[component.ocr.tool.other]
anything = 1
[component.ocr.tool.ephemera]
package = "shop-ocr"
models = ["detector", "reader"]
timeout_s = 7
cpu_s = 5
run = { path = "/v1/ocr?format=text", takes = "pictures" }
"#;

#[test]
fn a_manifest_becomes_routes_and_functions() {
    let project = Project::parse(GOOD, Path::new("/shop")).expect("the manifest is good");
    assert_eq!(project.name, "shop");
    assert_eq!(project.routes.find("/v1/x"), Some("ocr"));
    let expected = Function {
        name: "ocr".into(),
        source: "/shop/target/ocr.wasm".into(),
        package: Some("shop-ocr".into()),
        features: vec![],
        starts: vec![Start::Http],
        models: vec!["detector".into(), "reader".into()],
        limits: Limits {
            memory_bytes: 128 * 1024 * 1024,
            timeout: Duration::from_secs(7),
            cpu: Duration::from_secs(5),
            answer_bytes: 32 << 20,
        },
        variables: [("api_key".to_owned(), "{{ key }}".to_owned())].into(),
        wasi_nn: false,
        spin: SpinKeys {
            build: Some(BuildCommand {
                command: vec!["make".into()],
                workdir: None,
                watch: vec![],
            }),
            ..SpinKeys::default()
        },
        run: Some(FileRequests {
            path: "/v1/ocr?format=text".into(),
            takes: Takes::Pictures,
        }),
        example: None,
    };
    assert_eq!(project.functions["ocr"], expected);
}

#[test]
fn what_is_not_supported_is_named() {
    struct Case {
        replace: &'static str,
        by: &'static str,
        error: &'static str,
    }
    let cases = [
        Case {
            replace: "spin_manifest_version = 2",
            by: "spin_manifest_version = 1",
            error: "expected 2, got 1",
        },
        Case {
            replace: "name = \"shop\"",
            by: "name = \"shop\"\n[application.trigger.http]\nbase = \"/\"",
            error: "`application.trigger.http` is not supported",
        },
        Case {
            replace: "route = \"/v1/...\"",
            by: "route = \"/:a b\"",
            error: "route `/:a b`",
        },
        Case {
            replace: "component = \"ocr\"",
            by: "component = \"ocr\"\nexecutor = \"wagi\"",
            error: "`trigger.http.executor` is not supported",
        },
        Case {
            replace: "component = \"ocr\"",
            by: "component = \"gait\"",
            error: "no [component.gait]",
        },
        Case {
            replace: "api_key = \"{{ key }}\"",
            by: "api_key = \"{{ b }}\"",
            error: "no variable `b`",
        },
        Case {
            replace: "timeout_s = 7",
            by: "timeout_s = 0",
            error: "expected 1 to 3600, got 0",
        },
        Case {
            replace: "timeout_s = 7",
            by: "memory_mib = 5000",
            error: "expected 1 to 4096, got 5000",
        },
        Case {
            replace: "cpu_s = 5",
            by: "cpu_s = 8",
            error: "cpu_s: expected 1 to 7, which is timeout_s, got 8",
        },
        Case {
            replace: "cpu_s = 5",
            by: "max_answer_mib = 0",
            error: "max_answer_mib: expected 1 to 1024, got 0",
        },
        Case {
            replace: "timeout_s = 7",
            by: "memory = 5",
            error: "unknown field `memory`",
        },
        Case {
            replace: "/v1/ocr?",
            by: "v1/ocr?",
            error: "run.path: expected `/...`, got `v1/ocr?format=text`",
        },
        Case {
            replace: "\"pictures\"",
            by: "\"sounds\"",
            error: "unknown variant `sounds`",
        },
        Case {
            replace: "\"detector\"",
            by: "\"../detector\"",
            error: "model `../detector`",
        },
        Case {
            replace: "package = \"shop-ocr\"",
            by: "package = \"--config\"",
            error: "package `--config`",
        },
        Case {
            replace: "source = \"target/ocr.wasm\"",
            by: "source = { url = \"https://a.example/b.wasm\", digest = \"sha256:0\" }",
            error: "`source = { digest, url }` is not supported",
        },
        Case {
            replace: "source = \"target/ocr.wasm\"",
            by: "source = \"a.wasm\"\nsqlite_databases = [\"default\"]",
            error: "component `ocr`: `sqlite_databases` is not supported",
        },
        Case {
            replace: "source = \"target/ocr.wasm\"",
            by: "source = \"a.wasm\"\nai_models = [\"llama\"]",
            error: "component `ocr`: `ai_models` is not supported",
        },
        Case {
            replace: "source = \"target/ocr.wasm\"",
            by: "source = \"a.wasm\"\nkey_value_stores = [\"default\"]",
            error: "key_value_stores: a function that is built from a `package` has none",
        },
        Case {
            replace: "source = \"target/ocr.wasm\"",
            by: "source = \"a.wasm\"\nfiles = [\"*\"]",
            error: "files: a function that is built from a `package` has none",
        },
        Case {
            replace: "source = \"target/ocr.wasm\"",
            by: "source = \"a.wasm\"\nallowed_outbound_hosts = [\"http://gait.spin.internal\"]",
            error: "http://gait.spin.internal",
        },
        Case {
            replace: "[[trigger.http]]",
            by: "[[trigger.mqtt]]\ncomponent = \"ocr\"\n[[trigger.http]]",
            error: "`trigger.mqtt` is not supported",
        },
        Case {
            replace: "route = \"/v1/...\"",
            by: "route = { private = false }",
            error: "expected `private = true`",
        },
        Case {
            replace: "[variables]",
            by: "[targets]\n[variables]",
            error: "unknown field `targets`",
        },
    ];
    for case in cases {
        let text = GOOD.replacen(case.replace, case.by, 1);
        let error = Project::parse(&text, Path::new("/shop")).expect_err(case.by);
        let error = format!("{error:#}");
        assert!(
            error.contains(case.error),
            "{}: expected `{}` in: {error}",
            case.by,
            case.error
        );
    }
}

/// A component as Spin's templates have it, and the same one behind a second route and a private one.
const FOREIGN: &str = r#"
spin_manifest_version = 2
[application]
name = "guestbook"
authors = ["A. N. Other"]
[[trigger.http]]
id = "book"
route = "/book/:page"
component = "book"
[[trigger.http]]
route = "/index"
component = "book"
[[trigger.http]]
route = { private = true }
component = "book"
[component.book]
source = "book.wasm"
environment = { PAGES = "7" }
files = ["pages/*.html", { source = "static", destination = "/assets" }]
exclude_files = ["pages/draft-*"]
allowed_outbound_hosts = ["https://*.example.org"]
key_value_stores = ["default"]
[component.book.build]
command = ["make", "make check"]
workdir = "book"
watch = ["book/**/*.c"]
"#;

#[test]
fn a_component_of_others_is_taken_as_it_is() {
    let project = Project::parse(FOREIGN, Path::new("/shop")).expect("the manifest is good");
    let book = &project.functions["book"];
    assert_eq!((&book.package, book.models.len()), (&None, 0));
    assert_eq!(book.limits.memory_bytes, 128 << 20);
    assert_eq!(book.spin.environment["PAGES"], "7");
    assert_eq!(
        book.spin.files,
        [
            Mount::Pattern("pages/*.html".into()),
            Mount::Placed {
                source: "static".into(),
                destination: "/assets".into()
            }
        ]
    );
    let build = book.spin.build.as_ref().expect("it has a command");
    assert_eq!(build.command, ["make", "make check"]);
    assert_eq!(build.workdir.as_deref(), Some(Path::new("book")));
    for (path, expected) in [
        ("/book/3", Some("book")),
        ("/index/", Some("book")),
        ("/", None),
    ] {
        assert_eq!(project.routes.find(path), expected, "{path}");
    }
    let other = FOREIGN.replace("[\"default\"]", "[\"cache\"]");
    let error = Project::parse(&other, Path::new("/shop")).expect_err("another store");
    let expected = "only the store `default` is supported, got `cache`";
    assert!(format!("{error:#}").contains(expected), "{error:#}");
    let limited = FOREIGN.replace(
        "[component.book.build]",
        "[component.book.tool.ephemera]\nmemory_mib = 16\n[component.book.build]",
    );
    let project = Project::parse(&limited, Path::new("/shop")).expect("still good");
    assert_eq!(project.functions["book"].limits.memory_bytes, 16 << 20);
}

#[test]
fn a_workspace_above_has_models_and_is_cargos() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let below = |path: &str| folder.path().join(path);
    let deep = below("a/b/c");
    std::fs::create_dir_all(&deep)?;
    let workspace =
        |text: &str| -> Result<PathBuf> { Ok(Project::parse(text, &deep)?.workspace().to_owned()) };
    assert_eq!(workspace(GOOD)?, deep);
    std::fs::create_dir_all(below("a/b/models"))?;
    std::fs::create_dir_all(below("a/models"))?;
    std::fs::write(below("a/Cargo.toml"), "")?;
    assert_eq!(workspace(GOOD)?, below("a"));
    assert_eq!(workspace(FOREIGN)?, deep, "it is built from no package");
    std::fs::create_dir(deep.join("models"))?;
    assert_eq!(workspace(GOOD)?, deep);
    Ok(())
}

#[test]
fn one_component_takes_other_models() -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::create_dir_all(folder.path().join("models/reader"))?;
    std::fs::write(folder.path().join("models/reader/model.toml"), "")?;
    let mut project = Project::parse(GOOD, folder.path())?;
    let names = |names: &[&str]| -> Vec<String> { names.iter().map(|&n| n.into()).collect() };
    for (components, models, error) in [
        (&[][..], "reader", "one component, got 0"),
        (&["ocr", "gait"], "reader", "one component, got 2"),
        (&["gait"], "reader", "`gait` is no function"),
        (&["ocr"], "other", "no model `other`"),
        (&["ocr"], "../models/reader", "model"),
    ] {
        let refused = project.take_models(&names(components), &names(&[models]));
        let refused = refused.expect_err(error).to_string();
        assert!(refused.contains(error), "{refused}");
    }
    project.take_models(&names(&["ocr"]), &names(&["reader"]))?;
    assert_eq!(project.functions["ocr"].models, ["reader"]);
    Ok(())
}

#[test]
fn functions_are_selected_by_name() {
    let project = Project::parse(GOOD, Path::new("/shop")).expect("the manifest is good");
    assert_eq!(project.select(&[]).expect("all").len(), 1);
    assert_eq!(project.select(&["ocr".into()]).expect("one").len(), 1);
    let error = project.select(&["gait".into()]).expect_err("none");
    assert_eq!(
        error.to_string(),
        "no component `gait`, the manifest has: ocr"
    );
}

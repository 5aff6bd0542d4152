//! A function with variables: built to ask for them, and told them by our host as Spin would.

use std::sync::Arc;

use anyhow::{Context, Result};
use ephemera::app::App;
use ephemera::build;
use ephemera::config::Project;
use ephemera::progress::Progress;
use ephemera::serve::{Options, Server};

use crate::runners::{self, Asked, over_http};

const KEYED: &str = r#"
spin_manifest_version = 2
[application]
name = "keyed"
[variables]
key = { default = "s3cret", secret = true }
[[trigger.http]]
route = "/..."
component = "keyed"
[component.keyed]
source = "target/ephemera/keyed.wasm"
[component.keyed.variables]
api_key = "{{ key }}"
cors_origins = "https://archive.example"
[component.keyed.tool.ephemera]
package = "ephemera-ocr"
models = ["ocr-recogniser-latin", "ocr-detector"]
"#;

#[test]
fn a_key_and_origins_come_from_the_manifest() -> Result<()> {
    let project = Project::parse(KEYED, &runners::root())?;
    let artifact = build::build(&project, &[], &Progress::stderr())?
        .pop()
        .context("one function")?;
    let imports = &artifact.report.imports;
    let variables = "fermyon:spin/variables@2.0.0";
    assert!(
        imports.iter().any(|import| import == variables),
        "{imports:?}"
    );
    let ours = &runners::artifact("ocr").report.imports;
    assert!(!ours.iter().any(|import| import == variables), "{ours:?}");

    // The OCR function as it is built without variables must not be taken for one with them.
    let mut open = project.function("keyed")?.clone();
    open.source = runners::PROJECT.function("ocr")?.source.clone();
    let refused = build::open(&open, &Progress::silent()).expect_err("it asks for none");
    assert!(refused.to_string().contains("variables"), "{refused}");

    let executor = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let app = Arc::new(App::load(project, &[artifact], 1)?);
    let options = Options {
        listen: ([127, 0, 0, 1], 0).into(),
        ..Options::default()
    };
    let server = executor.block_on(Server::start(app, options))?;
    let address = server.address().to_string();
    for (target, key, expected) in [
        ("/v1/engines", None, 401),
        ("/v1/engines", Some("s3cre"), 401),
        ("/v1/engines", Some("s3cret"), 200),
        ("/health", None, 200),
    ] {
        let mut asked = Asked::post("", "", vec![]);
        asked.method = "GET";
        asked.target = target.to_owned();
        asked.headers = vec![("origin", "https://archive.example".to_owned())];
        asked
            .headers
            .extend(key.map(|key| ("x-api-key", key.to_owned())));
        let answered = over_http(&address, &asked)?;
        assert_eq!(answered.status, expected, "{target} {key:?}");
        let said = String::from_utf8_lossy(&answered.body);
        assert!(!said.contains("s3cret"), "{said}");
    }
    Ok(())
}

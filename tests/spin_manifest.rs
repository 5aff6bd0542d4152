//! A component of others, and what a manifest gives it: built by its own command, asked over HTTP.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result};
use ephemera::app::App;
use ephemera::build;
use ephemera::config::Project;
use ephemera::progress::Progress;
use ephemera::serve::{Options, Server};

use crate::runners::{self, Asked, over_http};

/// The component, as `cargo build` leaves it: a module.
pub(crate) static READER: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
    let source = target.join("wasm32-wasip1/guest/ephemera_reader.wasm");
    let manifest = format!(
        "{HEAD}[component.reader]\nsource = {source:?}\n[component.reader.build]\ncommand = \"{COMMAND}\"\n"
    );
    let project = Project::parse(&manifest, &runners::root()).expect("a manifest");
    // Its key-value import is refused without a store; its command has run by then.
    let refused = build::build(&project, &[], &Progress::stderr()).expect_err("no store");
    let refused = format!("{refused:#}");
    let expected = "add `key_value_stores = [\"default\"]`";
    assert!(refused.contains(expected), "{refused}");
    std::fs::read(runners::root().join(source)).expect("its command made it")
});

const COMMAND: &str = "env -u RUSTFLAGS cargo build --quiet --profile guest --package ephemera-reader --target wasm32-wasip1";

const HEAD: &str = r#"
spin_manifest_version = 2
[application]
name = "reader"
[variables]
service = { default = "127.0.0.1:1" }
[[trigger.http]]
route = "/r/:part/..."
component = "reader"
[[trigger.http]]
route = "/exact"
component = "reader"
[[trigger.http]]
route = { private = true }
component = "reader"
"#;

/// A project with the component and some files, served.
struct Served {
    folder: tempfile::TempDir,
    address: String,
    server: Server,
    executor: tokio::runtime::Runtime,
}

impl Served {
    fn new(keys: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let write = |path: &str, bytes: &[u8]| -> Result<()> {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().context("a folder")?)?;
            Ok(std::fs::write(path, bytes)?)
        };
        write("reader.wasm", &READER)?;
        write("pages/a.txt", b"page a")?;
        write("pages/b.txt", b"page b")?;
        write("pages/draft.txt", b"a draft")?;
        write("static/css/x.css", b"body {}")?;
        write("secret.txt", b"nobody's business")?;
        std::os::unix::fs::symlink(
            "../../secret.txt",
            folder.path().join("static/css/link.css"),
        )?;
        let manifest = manifest(keys);
        let project = Project::parse(&manifest, folder.path())?;
        let artifacts = build::build(&project, &[], &Progress::stderr())?;
        let executor = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        let app = Arc::new(App::load(project, &artifacts, 4)?);
        let options = Options {
            listen: ([127, 0, 0, 1], 0).into(),
            ..Options::default()
        };
        let server = executor.block_on(Server::start(app, options))?;
        Ok(Self {
            address: server.address().to_string(),
            folder,
            server,
            executor,
        })
    }

    fn ask(&self, target: &str) -> Result<(u16, String)> {
        let asked = Asked {
            method: "GET",
            target: target.to_owned(),
            headers: vec![("spin-path-info", "/forged".into()), ("spin-x", "1".into())],
            body: vec![],
        };
        let answer = over_http(&self.address, &asked)?;
        Ok((
            answer.status,
            String::from_utf8_lossy(&answer.body).into_owned(),
        ))
    }

    /// Asks for each target; each answer must have the status and contain the text.
    fn check(&self, cases: &[(&str, u16, &str)]) -> Result<()> {
        for (target, status, expected) in cases {
            let (actual, said) = self.ask(target)?;
            assert_eq!(actual, *status, "{target}: {said}");
            assert!(said.contains(expected), "{target}: {said}");
        }
        Ok(())
    }
}

fn manifest(keys: &str) -> String {
    format!("{HEAD}[component.reader]\nsource = \"reader.wasm\"\n{keys}\n")
}

const STORE: &str = "key_value_stores = [\"default\"]\n";

#[test]
fn a_component_without_grants_finds_nothing() -> Result<()> {
    let served = Served::new(STORE)?;
    served.check(&[
        ("/exact?read=/pages/a.txt", 500, ""),
        ("/exact?read=pages/a.txt", 500, ""),
        ("/exact?list=/", 500, ""),
        ("/exact?write=/x", 500, ""),
        ("/exact?env=PATH", 500, "not found"),
        ("/exact?ask=http://127.0.0.1:1/", 500, "HttpRequestDenied"),
        ("/exact?ask=https://example.org/", 500, "HttpRequestDenied"),
        (
            "/exact?ask=http://self.alt/exact?keys",
            500,
            "HttpRequestDenied",
        ),
        ("/other", 404, "nothing is served"),
    ])
}

#[test]
fn routes_are_told_in_headers_and_forged_ones_are_not() -> Result<()> {
    let served = Served::new(STORE)?;
    let address = &served.address;
    let (status, said) = served.ask("/r/seven/a/b?headers")?;
    assert_eq!(status, 200);
    let lines: Vec<_> = said.lines().collect();
    let url = format!("spin-full-url: http://{address}/r/seven/a/b?headers");
    let (client, others): (Vec<_>, Vec<_>) = lines
        .into_iter()
        .partition(|line| line.starts_with("spin-client-addr: 127.0.0.1:"));
    assert_eq!(client.len(), 1, "{said}");
    assert_eq!(
        others,
        [
            "spin-base-path: /",
            "spin-component-route: /r/:part",
            &url,
            "spin-matched-route: /r/:part/...",
            "spin-path-info: /a/b",
            "spin-path-match-part: seven",
            "spin-raw-component-route: /r/:part/...",
        ]
    );
    Ok(())
}

#[test]
fn files_and_environment_are_what_the_manifest_says() -> Result<()> {
    let served = Served::new(&format!(
        "{STORE}environment = {{ GREETING = \"hello\" }}\n\
         files = [\"pages/*.txt\", {{ source = \"static/css/x.css\", destination = \"/assets/style.css\" }}]\n\
         exclude_files = [\"**/draft.txt\"]\n"
    ))?;
    served.check(&[
        ("/exact?env=GREETING", 200, "hello"),
        ("/exact?read=/pages/a.txt", 200, "page a"),
        ("/exact?read=pages/../pages/b.txt", 200, "page b"),
        ("/exact?read=/assets/style.css", 200, "body {}"),
        ("/exact?list=/", 200, "assets/ pages/"),
        ("/exact?list=/pages", 200, "a.txt b.txt"),
        ("/exact?read=/pages/draft.txt", 500, "No such file"),
        ("/exact?read=/secret.txt", 500, "No such file"),
        ("/exact?read=/../secret.txt", 500, ""),
        ("/exact?read=/etc/passwd", 500, "No such file"),
        ("/exact?write=/pages/a.txt", 500, "Read-only"),
        ("/exact?write=/pages/new.txt", 500, "Read-only"),
    ])?;
    let page = served.folder.path().join("pages/a.txt");
    assert_eq!(std::fs::read_to_string(&page)?, "page a");
    // It is read when it is asked for, and not when the server started.
    std::fs::write(&page, "page a, again")?;
    served.check(&[("/exact?read=/pages/a.txt", 200, "page a, again")])?;
    // And never through a link that has taken its place.
    std::fs::remove_file(&page)?;
    std::os::unix::fs::symlink("../secret.txt", &page)?;
    served.check(&[("/exact?read=/pages/a.txt", 500, "No such file")])
}

#[test]
fn files_outside_the_project_stop_the_start() -> Result<()> {
    let keys = format!("{STORE}files = [{{ source = \"static\", destination = \"/\" }}]\n");
    let served = Served::new(&keys)?;
    served.check(&[("/exact?read=/css/link.css", 200, "nobody's business")])?;
    let outside = tempfile::NamedTempFile::new()?;
    let link = served.folder.path().join("static/out");
    std::os::unix::fs::symlink(outside.path(), link)?;
    let project = Project::parse(&manifest(&keys), served.folder.path())?;
    let function = project.function("reader")?;
    let refused = project.grants_of(function).expect_err("it leads outside");
    let refused = format!("{refused:#}");
    assert!(refused.contains("`static/out` leads outside"), "{refused}");
    Ok(())
}

#[test]
fn a_store_keeps_its_values_and_others_are_refused() -> Result<()> {
    let served = Served::new(STORE)?;
    served.check(&[
        ("/exact?get=a", 500, "none"),
        ("/exact?set=a=1", 200, "set"),
        ("/exact?set=b=2", 200, "set"),
        ("/exact?get=a", 200, "1"),
        ("/exact?keys", 200, "a b"),
        ("/exact?store=default", 200, "open"),
        ("/exact?store=other", 500, "NoSuchStore"),
    ])?;
    let long = format!("/exact?set={}=1", "k".repeat(256));
    served.check(&[(&long, 500, "the limit is 255")])?;
    assert!(served.folder.path().join(".spin/key-value.redb").is_file());
    Ok(())
}

/// Answers every request with `body`, as long as the test runs.
fn service(body: &'static [u8]) -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = [0; 4096];
            // A request without a body comes in one piece.
            let _ = stream.read(&mut head);
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(body);
        }
    });
    Ok(port)
}

#[test]
fn requests_go_where_they_are_allowed_and_nowhere_else() -> Result<()> {
    let allowed = service(b"from the service")?;
    let other = service(b"from another")?;
    let served = Served::new(&format!(
        "{STORE}allowed_outbound_hosts = [\"http://127.0.0.1:{allowed}\", \"http://*:{other}\", \"http://self\"]\n"
    ))?;
    let cases = [
        (
            format!("http://127.0.0.1:{allowed}/"),
            200,
            "200 from the service",
        ),
        (
            format!("http://127.0.0.1:{other}/"),
            500,
            "DestinationIpProhibited",
        ),
        (
            format!("http://localhost:{other}/"),
            500,
            "DestinationIpProhibited",
        ),
        (
            format!("https://127.0.0.1:{allowed}/"),
            500,
            "HttpRequestDenied",
        ),
        (
            "http://self.alt/exact?env=NONE".to_owned(),
            200,
            "500 environment variable not found",
        ),
        (
            "http://gait.spin.internal/".to_owned(),
            500,
            "HttpRequestDenied",
        ),
    ];
    for (url, status, expected) in cases {
        served.check(&[(&format!("/exact?ask={url}"), status, expected)])?;
    }
    Ok(())
}

#[test]
fn an_allowed_host_may_be_a_variable() -> Result<()> {
    let keys = "allowed_outbound_hosts = [\"http://{{ service }}\"]\n";
    let project = Project::parse(&manifest(keys), Path::new("/"))?;
    let grants = project.grants_of(project.function("reader")?)?;
    let filled = ephemera::outbound::Hosts::parse(&["http://127.0.0.1:1"])?;
    assert_eq!(grants.hosts, filled);
    let unknown = keys.replace("service", "none");
    let project = Project::parse(&manifest(&unknown), Path::new("/"))?;
    let refused = project.grants_of(project.function("reader")?);
    let refused = format!("{:#}", refused.expect_err("not declared"));
    assert!(refused.contains("no variable `none`"), "{refused}");
    Ok(())
}

#[test]
fn an_app_is_replaced_without_losing_requests() -> Result<()> {
    let served = Served::new(&format!("{STORE}environment = {{ VERSION = \"1\" }}\n"))?;
    served.check(&[("/exact?env=VERSION", 200, "1")])?;
    let next = format!("{STORE}environment = {{ VERSION = \"2\" }}\n");
    let project = Project::parse(&manifest(&next), served.folder.path())?;
    let artifacts = build::build(&project, &[], &Progress::stderr())?;
    let app = Arc::new(App::load(project, &artifacts, 4)?);
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| (0..20).map(|_| served.ask("/exact?env=VERSION")).collect()))
            .collect();
        served.server.replace(app);
        for asked in asking {
            let answers: Vec<Result<(u16, String)>> = asked.join().expect("no panic");
            for answer in answers {
                let (status, said) = answer?;
                assert!(
                    status == 200 && ["1", "2"].contains(&said.as_str()),
                    "{said}"
                );
            }
        }
        Ok::<_, anyhow::Error>(())
    })?;
    served.check(&[("/exact?env=VERSION", 200, "2")])?;
    assert!(served.executor.block_on(served.server.stop()));
    Ok(())
}

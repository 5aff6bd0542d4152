//! The manifests for Kubernetes: what their schemas take, flags that exist, and numbers that agree with `spin.toml` and with each other.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use ephemera::config::Project;
use ephemera::memory::parse_bytes;
use serde_json::Value;

use super::deploy;
use crate::binary::{self, skip};
use crate::runners;

/// What KEDA's reference has for the metadata of a trigger, which is a map of any strings in the schema.
const TRIGGERS: [(&str, &[&str]); 2] = [
    (
        "redis-streams",
        &[
            "address",
            "databaseIndex",
            "stream",
            "streamLength",
            "enableTLS",
        ],
    ),
    (
        "redis",
        &[
            "address",
            "databaseIndex",
            "listName",
            "listLength",
            "enableTLS",
        ],
    ),
];

fn manifests() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(deploy("kubernetes"))? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// A Python with the schemas, unless there is none here.
fn python() -> Result<Option<PathBuf>> {
    let ours = runners::root().join("target/manifests/bin/python3");
    if ours.is_file() {
        return Ok(Some(ours));
    }
    skip("the manifests' schemas are not here: .ci/run installs them")?;
    Ok(None)
}

/// All documents of `files`, if their schemas take them.
fn checked(python: &Path, files: &[PathBuf]) -> Result<Vec<Value>> {
    let output = Command::new(python)
        .arg(runners::root().join("tests/deploy/manifests.py"))
        .args(files)
        .output()
        .context("running the checker")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn string<'a>(document: &'a Value, pointer: &str) -> Result<&'a str> {
    let value = document.pointer(pointer).and_then(Value::as_str);
    value.with_context(|| format!("no string at {pointer} of {}", document["kind"]))
}

/// A quantity of Kubernetes such as `384Mi`, in bytes.
fn bytes(quantity: &str) -> Result<u64> {
    parse_bytes(&format!("{quantity}B")).map_err(anyhow::Error::msg)
}

fn array<'a>(document: &'a Value, pointer: &str) -> Result<&'a Vec<Value>> {
    let value = document.pointer(pointer).and_then(Value::as_array);
    value.with_context(|| format!("no list at {pointer} of {}", document["kind"]))
}

#[test]
fn manifests_are_what_their_schemas_take() -> Result<()> {
    let Some(python) = python()? else {
        return Ok(());
    };
    let project = Project::open(&runners::root().join("spin.toml"))?;
    let documents = checked(&python, &manifests()?)?;
    let mut kinds: Vec<&str> = Vec::new();
    for document in &documents {
        let kind = string(document, "/kind")?;
        kinds.push(kind);
        let name = string(document, "/metadata/name")?;
        match kind {
            "SpinApp" => spin_app(document, &project),
            "Deployment" => deployment(document, &project),
            "ScaledObject" => scaled_object(document, &documents),
            "HorizontalPodAutoscaler" => autoscaler(document, &documents),
            "Service" => service(document, &documents),
            "TriggerAuthentication" => Ok(()),
            other => bail!("nobody looks at a {other}"),
        }
        .with_context(|| format!("{kind} {name}"))?;
    }
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds.len(), 6, "{kinds:?}");
    Ok(())
}

#[test]
fn a_misspelt_field_is_refused_by_each_schema() -> Result<()> {
    let Some(python) = python()? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    for (file, right, wrong) in [
        ("ocr.yaml", "invocationLimits:", "invocationLimit:"),
        ("jobs.yaml", "cooldownPeriod:", "coolDownPeriod:"),
        (
            "gpu.yaml",
            "readOnlyRootFilesystem:",
            "readOnlyRootFileSystem:",
        ),
    ] {
        let text = std::fs::read_to_string(deploy("kubernetes").join(file))?;
        ensure!(text.contains(right), "no {right} in {file}");
        let path = folder.path().join(file);
        std::fs::write(&path, text.replace(right, wrong))?;
        let refused = checked(&python, &[path]).err().map(|e| e.to_string());
        let named = refused.is_some_and(|said| said.contains(wrong.trim_end_matches(':')));
        assert!(named, "{file} with {wrong}");
    }
    Ok(())
}

/// Its function is one of the application, gets the memory that it may take there, and answers the probes.
fn spin_app(app: &Value, project: &Project) -> Result<()> {
    let invocation = bytes(string(app, "/spec/invocationLimits/memory")?)?;
    let limit = bytes(string(app, "/spec/resources/limits/memory")?)?;
    let request = bytes(string(app, "/spec/resources/requests/memory")?)?;
    ensure!(request <= limit && limit >= 2 * invocation, "memory");
    for component in array(app, "/spec/components")? {
        let name = component.as_str().context("a name")?;
        let ceiling = project.function(name)?.limits.memory_bytes as u64;
        ensure!(
            invocation == ceiling,
            "{name} may take {ceiling} bytes, an invocation {invocation}"
        );
        for probe in ["readiness", "liveness"] {
            let path = string(app, &format!("/spec/checks/{probe}/httpGet/path"))?;
            ensure!(project.routes.find(path) == Some(name), "{path}");
        }
    }
    Ok(())
}

/// A flag's value in the arguments of a container.
fn flag<'a>(arguments: &[&'a str], name: &str) -> Option<&'a str> {
    let mut arguments = arguments.iter();
    arguments.find_map(|argument| argument.strip_prefix(name)?.strip_prefix('='))
}

fn arguments(container: &Value) -> Result<Vec<&str>> {
    let arguments = array(container, "/args")?.iter();
    arguments
        .map(|argument| argument.as_str().context("an argument is a string"))
        .collect()
}

fn container(deployment: &Value) -> Result<&Value> {
    match array(deployment, "/spec/template/spec/containers")?.as_slice() {
        [container] => Ok(container),
        more => bail!("{} containers", more.len()),
    }
}

/// What the pods of a deployment run is `ephemera` with flags that it has, within limits that fit each other.
fn deployment(deployment: &Value, project: &Project) -> Result<()> {
    let container = container(deployment)?;
    let command = string(container, "/command/0")?;
    ensure!(command == "/usr/local/bin/ephemera", "{command}");
    let arguments = arguments(container)?;
    flags_exist(&arguments)?;

    let size = flag(&arguments, "--memory-budget").context("a budget")?;
    let budget = parse_bytes(size).map_err(anyhow::Error::msg)?;
    let limit = bytes(string(container, "/resources/limits/memory")?)?;
    let request = bytes(string(container, "/resources/requests/memory")?)?;
    ensure!(
        budget <= request,
        "a budget of {budget}, a request of {request}"
    );
    ensure!(request <= limit && budget <= limit / 4 * 3, "limits");
    let together: u64 = flag(&arguments, "--max-concurrency")
        .context("a concurrency")?
        .parse()?;
    let ceilings = project.functions.values();
    let largest = ceilings.map(|function| function.limits.memory_bytes as u64);
    let largest = largest.max().context("a function")?;
    ensure!(
        budget == together * largest,
        "{together} of {largest} bytes are not {budget}"
    );

    let pod = "/spec/template/spec";
    let grace: u64 = flag(&arguments, "--grace-s")
        .context("a grace time")?
        .parse()?;
    let pause = container.pointer("/lifecycle/preStop/sleep/seconds");
    let pause = pause.and_then(Value::as_u64).unwrap_or(0);
    let ended = deployment.pointer(&format!("{pod}/terminationGracePeriodSeconds"));
    let ended = ended.and_then(Value::as_u64).context("its end")?;
    ensure!(ended >= pause + grace + 5, "{ended} s are not enough");

    for (of, pointer, expected) in [
        (
            deployment,
            format!("{pod}/securityContext/runAsNonRoot"),
            true,
        ),
        (
            deployment,
            format!("{pod}/automountServiceAccountToken"),
            false,
        ),
        (
            container,
            "/securityContext/readOnlyRootFilesystem".to_owned(),
            true,
        ),
        (
            container,
            "/securityContext/allowPrivilegeEscalation".to_owned(),
            false,
        ),
    ] {
        let value = of.pointer(&pointer).and_then(Value::as_bool);
        ensure!(value == Some(expected), "{pointer} is {value:?}");
    }
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        if let Some(path) = container.pointer(&format!("/{probe}/httpGet/path")) {
            let path = path.as_str().context("a path")?;
            ensure!(project.routes.find(path).is_some(), "{probe}: {path}");
        }
    }
    Ok(())
}

/// Each flag is one of those that the subcommand names in its help.
fn flags_exist(arguments: &[&str]) -> Result<()> {
    let Some(program) = binary::path() else {
        return skip("`ephemera` is not built: test the whole workspace");
    };
    let (subcommand, flags) = arguments.split_first().context("a subcommand")?;
    let help = Command::new(program)
        .args([subcommand, "--help"])
        .output()
        .context("asking for help")?;
    ensure!(help.status.success(), "no subcommand {subcommand}");
    let help = String::from_utf8(help.stdout)?;
    let known: Vec<&str> = help
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .filter(|word| word.starts_with("--"))
        .collect();
    for given in flags {
        let name = given.split('=').next().unwrap_or_default();
        ensure!(known.contains(&name), "{subcommand} has no {name}");
    }
    Ok(())
}

fn named<'a>(documents: &'a [Value], kind: &str, name: &str) -> Result<&'a Value> {
    let found = documents
        .iter()
        .find(|document| document["kind"] == kind && document["metadata"]["name"] == name);
    found.with_context(|| format!("no {kind} {name}"))
}

/// It looks at all that may be waiting for the workers that it scales, in the same Redis, with the same password.
fn scaled_object(scaler: &Value, documents: &[Value]) -> Result<()> {
    let target = string(scaler, "/spec/scaleTargetRef/name")?;
    let workers = named(documents, "Deployment", target)?;
    ensure!(workers["spec"].get("replicas").is_none(), "two scalers");
    let container = container(workers)?;
    let arguments = arguments(container)?;
    // The variable that `--redis` is read from, made of the one before it.
    ensure!(string(container, "/env/1/name")? == "REDIS_URL");
    let redis = string(container, "/env/1/value")?;
    let password = format!("$({})", string(container, "/env/0/name")?);
    ensure!(redis.contains(&password), "no {password} in {redis}");
    let (_, place) = redis.rsplit_once('@').context("a password")?;
    let (address, database) = place.split_once('/').context("a database")?;
    // KEDA's operator, in a namespace of its own, looks there too.
    ensure!(address.contains(".svc."), "not the whole name: {address}");
    let stream = flag(&arguments, "--stream").context("a stream")?;

    let mut looked_at = Vec::new();
    for trigger in array(scaler, "/spec/triggers")? {
        let kind = string(trigger, "/type")?;
        let known = TRIGGERS.iter().find(|(name, _)| *name == kind);
        let (_, known) = known.with_context(|| format!("an unknown trigger {kind}"))?;
        let metadata = trigger["metadata"].as_object().context("metadata")?;
        for key in metadata.keys() {
            ensure!(known.contains(&key.as_str()), "{kind} has no {key}");
        }
        ensure!(string(trigger, "/metadata/address")? == address);
        ensure!(string(trigger, "/metadata/databaseIndex")? == database);
        let key = metadata.get("stream").or(metadata.get("listName"));
        looked_at.push(key.and_then(Value::as_str).context("a key")?);
        let length = metadata.get("streamLength").or(metadata.get("listLength"));
        let length = length.and_then(Value::as_str).context("a length")?;
        ensure!(length.parse::<u64>()? > 0);

        let reference = string(trigger, "/authenticationRef/name")?;
        let login = named(documents, "TriggerAuthentication", reference)?;
        for (ours, theirs) in [("name", "name"), ("key", "key")] {
            let ours = format!("/env/0/valueFrom/secretKeyRef/{ours}");
            let theirs = format!("/spec/secretTargetRef/0/{theirs}");
            ensure!(
                string(container, &ours)? == string(login, &theirs)?,
                "{ours}"
            );
        }
    }
    let expected = ["", ":interactive", ":delayed"].map(|end| format!("{stream}{end}"));
    ensure!(looked_at == expected, "{looked_at:?}");

    let lease: u64 = flag(&arguments, "--lease-s").context("a lease")?.parse()?;
    let cooldown = scaler["spec"]["cooldownPeriod"].as_u64();
    ensure!(cooldown.is_some_and(|seconds| seconds > lease), "cooldown");
    Ok(())
}

fn autoscaler(autoscaler: &Value, documents: &[Value]) -> Result<()> {
    // SpinKube's deployment has the name of its SpinApp.
    let app = string(autoscaler, "/spec/scaleTargetRef/name")?;
    let app = named(documents, "SpinApp", app)?;
    ensure!(app["spec"]["enableAutoscaling"] == true, "two scalers");
    // A share of what is requested.
    string(app, "/spec/resources/requests/cpu")?;
    Ok(())
}

fn service(service: &Value, documents: &[Value]) -> Result<()> {
    let selector = &service["spec"]["selector"];
    let pods = documents
        .iter()
        .find(|document| document.pointer("/spec/template/metadata/labels") == Some(selector));
    let container = container(pods.context("nothing behind it")?)?;
    let port = string(service, "/spec/ports/0/targetPort")?;
    ensure!(string(container, "/ports/0/name")? == port, "{port}");
    let arguments = arguments(container)?;
    let listen = flag(&arguments, "--listen").context("an address")?;
    let number = container["ports"][0]["containerPort"].to_string();
    ensure!(listen == format!("0.0.0.0:{number}"), "{listen}");
    Ok(())
}

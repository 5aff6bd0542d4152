//! What an operator says about GPUs: flags, the environment and presets -> [`GpuSettings`].
//!
//! A preset sets everything; what is set besides wins over it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use ephemera_engine::Precision;

/// Longest time from a run's request to its answer, its turn included, as edge platforms have it for whole requests.
const RUN_LIMIT: Duration = Duration::from_secs(30);

/// Which device graphs run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// GPUs where there are any that work, the processor elsewhere.
    Auto,
    /// The processor.
    Cpu,
    /// This GPU and no other, by its number among those that `CUDA_VISIBLE_DEVICES` leaves.
    Cuda(u32),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse().ok()).flatten()
        };
        match text.trim() {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            other => other
                .strip_prefix("cuda:")
                .and_then(number)
                .map(Self::Cuda)
                .ok_or_else(|| format!("expected `auto`, `cpu` or `cuda:N`, got `{text}`")),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

/// A set of settings by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// For a GPU that others use too: 40 % of its memory, 32 bits, one graph at a time, given back after 15 s.
    Conservative,
    /// 70 % of its memory, 32 bits, four graphs, given back after 60 s.
    #[default]
    Balanced,
    /// For a GPU of its own: 90 % of its memory, 16 bits, all graphs loaded at the start and kept.
    Performance,
}

/// What a preset stands for.
struct Defaults {
    fraction: f64,
    precision: Precision,
    idle: Duration,
    growth: bool,
    graphs_kept: usize,
}

impl Preset {
    fn defaults(self) -> Defaults {
        match self {
            Self::Conservative => Defaults {
                fraction: 0.4,
                precision: Precision::F32,
                idle: Duration::from_secs(15),
                growth: true,
                graphs_kept: 1,
            },
            Self::Balanced => Defaults {
                fraction: 0.7,
                precision: Precision::F32,
                idle: Duration::from_secs(60),
                growth: true,
                graphs_kept: 4,
            },
            Self::Performance => Defaults {
                fraction: 0.9,
                precision: Precision::F16,
                idle: Duration::from_secs(60),
                growth: false,
                graphs_kept: usize::MAX,
            },
        }
    }
}

/// The GPU settings of a command line and its environment; `--device` is the command's own.
#[derive(Debug, Clone, Default, Args)]
pub struct GpuFlags {
    /// Defaults of the settings below.
    #[arg(
        long = "gpu-preset",
        value_name = "PRESET",
        value_enum,
        default_value = "balanced"
    )]
    pub preset: Preset,
    /// Seconds without a request after which a GPU's memory is given back; 60 if not given, see the presets.
    #[arg(long = "gpu-idle", value_name = "SECONDS", value_parser = parse_idle)]
    pub idle: Option<Duration>,
    /// Share of a GPU's memory that may be taken, over 0 and up to 1.
    #[arg(long = "gpu-memory-fraction", value_name = "SHARE", value_parser = parse_fraction, env = "SURYA_GPU_MEMORY_FRACTION")]
    pub memory_fraction: Option<f64>,
    /// MiB of a GPU's memory that may be taken.
    #[arg(long = "gpu-max-memory-mb", value_name = "MIB", value_parser = parse_mib, env = "SURYA_GPU_MAX_MEMORY_MB")]
    pub max_memory_bytes: Option<u64>,
    /// Whether graphs are loaded when they are first asked for; all are at the start otherwise.
    #[arg(long = "gpu-allow-growth", value_name = "BOOL", value_parser = parse_switch, env = "SURYA_GPU_ALLOW_GROWTH")]
    pub allow_growth: Option<bool>,
    /// Use no GPU.
    #[arg(long = "disable-gpu", value_name = "BOOL", value_parser = parse_switch, env = "DISABLE_GPU", num_args = 0..=1, default_missing_value = "true")]
    pub disabled: Option<bool>,
}

fn parse_idle(text: &str) -> Result<Duration, String> {
    let seconds = text.trim().parse().ok().filter(|&seconds: &f64| {
        // A day, and what `Duration` takes.
        (0.0..=86_400.0).contains(&seconds) && seconds > 0.0
    });
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("expected seconds, over 0 and up to 86400, got `{text}`"))
}

fn parse_fraction(text: &str) -> Result<f64, String> {
    let share = text.trim().parse().ok();
    share
        .filter(|&share: &f64| share > 0.0 && share <= 1.0)
        .ok_or_else(|| format!("expected a share over 0 and up to 1, got `{text}`"))
}

fn parse_mib(text: &str) -> Result<u64, String> {
    let mib: Option<u64> = text.trim().parse().ok();
    mib.filter(|&mib| mib > 0)
        .and_then(|mib| mib.checked_mul(1 << 20))
        .ok_or_else(|| format!("expected a whole number of MiB over 0, got `{text}`"))
}

fn parse_switch(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(format!("expected `true` or `false`, got `{text}`")),
    }
}

/// All that the devices are made from.
#[derive(Debug, Clone)]
pub struct GpuSettings {
    /// Which GPUs.
    pub device: DeviceChoice,
    /// The project's `models/`.
    pub models: PathBuf,
    /// Graphs that are loaded at the start where growth is off, by the names of their folders.
    pub graphs: Vec<String>,
    /// Share of a GPU's memory that its worker may take.
    pub memory_fraction: f64,
    /// Bytes of a GPU's memory that its worker may take.
    pub max_memory_bytes: Option<u64>,
    /// Whether graphs are loaded when they are first asked for.
    pub allow_growth: bool,
    /// What the graphs compute with.
    pub precision: Precision,
    /// Time without a request after which a worker ends; `None` keeps it.
    pub idle: Option<Duration>,
    /// Graphs that a worker holds at once; the one that was not used for the longest goes.
    pub graphs_kept: usize,
    /// From a run's request to its answer, its turn included.
    pub run_limit: Duration,
    /// The program whose hidden command `gpu-worker` is the worker: this one.
    pub program: PathBuf,
}

/// Settings that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A GPU is asked for and none may be used.
    #[error("device {0} is asked for, but DISABLE_GPU is true")]
    Disabled(DeviceChoice),
    /// The program does not know where it lies.
    #[error("the path of this program cannot be found")]
    NoProgram,
}

impl GpuFlags {
    /// What the flags say of `device`. `models`: the project's folder; `graphs`: those that are loaded at the start where growth is off.
    ///
    /// # Errors
    ///
    /// [`SettingsError`]: a GPU is named though none may be used.
    pub fn settings(
        &self,
        device: DeviceChoice,
        models: PathBuf,
        graphs: Vec<String>,
    ) -> Result<GpuSettings, SettingsError> {
        let device = match (self.disabled.unwrap_or(false), device) {
            (true, DeviceChoice::Cuda(_)) => return Err(SettingsError::Disabled(device)),
            (true, _) => DeviceChoice::Cpu,
            (false, device) => device,
        };
        let defaults = self.preset.defaults();
        let allow_growth = self.allow_growth.unwrap_or(defaults.growth);
        let idle = match (self.idle, allow_growth) {
            // What was taken at the start is kept, unless a time is given.
            (None, false) => None,
            (given, _) => Some(given.unwrap_or(defaults.idle)),
        };
        Ok(GpuSettings {
            device,
            models,
            graphs,
            memory_fraction: self.memory_fraction.unwrap_or(defaults.fraction),
            max_memory_bytes: self.max_memory_bytes,
            allow_growth,
            precision: defaults.precision,
            idle,
            graphs_kept: defaults.graphs_kept,
            run_limit: RUN_LIMIT,
            program: std::env::current_exe().map_err(|_| SettingsError::NoProgram)?,
        })
    }
}

impl GpuSettings {
    /// What a worker may take of a device that has `total_bytes`.
    pub fn limit_bytes(&self, total_bytes: u64) -> u64 {
        let share = (total_bytes as f64 * self.memory_fraction) as u64;
        share.min(self.max_memory_bytes.unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        flags: GpuFlags,
    }

    fn parsed(arguments: &[&str]) -> Result<GpuFlags, String> {
        let all = ["ephemera"].iter().chain(arguments);
        let command = Command::try_parse_from(all).map_err(|error| error.to_string())?;
        Ok(command.flags)
    }

    fn settings(arguments: &[&str]) -> GpuSettings {
        let flags = parsed(arguments).expect("flags");
        let made = flags.settings(DeviceChoice::Auto, "models".into(), vec![]);
        made.expect("settings")
    }

    #[test]
    fn devices_have_names() {
        for (text, expected) in [
            ("auto", DeviceChoice::Auto),
            ("cpu", DeviceChoice::Cpu),
            ("cuda:0", DeviceChoice::Cuda(0)),
            ("cuda:17", DeviceChoice::Cuda(17)),
            ("cuda", DeviceChoice::Cuda(0)),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in [
            "",
            "gpu",
            "cuda:",
            "cuda:-1",
            "cuda:+1",
            "cuda:x",
            "cuda:99999999999",
        ] {
            let error = text.parse::<DeviceChoice>().expect_err(text);
            assert_eq!(
                error,
                format!("expected `auto`, `cpu` or `cuda:N`, got `{text}`")
            );
        }
    }

    #[test]
    fn settings_win_over_presets() {
        let made = settings(&["--gpu-preset", "conservative"]);
        assert_eq!((made.memory_fraction, made.graphs_kept), (0.4, 1));
        assert_eq!(made.idle, Some(Duration::from_secs(15)));
        assert!(made.allow_growth);
        let made = settings(&["--gpu-preset", "performance"]);
        assert_eq!((made.precision, made.idle), (Precision::F16, None));
        assert!(!made.allow_growth);
        let made = settings(&[
            "--gpu-preset",
            "performance",
            "--gpu-idle",
            "2.5",
            "--gpu-memory-fraction",
            "0.25",
            "--gpu-max-memory-mb",
            "512",
            "--gpu-allow-growth",
            "yes",
        ]);
        assert_eq!(made.idle, Some(Duration::from_millis(2500)));
        assert_eq!(made.limit_bytes(1 << 30), 256 << 20);
        assert_eq!(made.limit_bytes(1 << 40), 512 << 20);
        assert!(made.allow_growth);
        let made = settings(&["--gpu-allow-growth", "false"]);
        assert_eq!(made.idle, None);
    }

    #[test]
    fn bad_values_say_what_is_expected() {
        for (flag, value, expected) in [
            ("--gpu-memory-fraction", "0", "over 0 and up to 1, got `0`"),
            ("--gpu-memory-fraction", "1.01", "got `1.01`"),
            ("--gpu-memory-fraction", "NaN", "got `NaN`"),
            ("--gpu-max-memory-mb", "0", "MiB over 0, got `0`"),
            ("--gpu-max-memory-mb", "1.5", "got `1.5`"),
            ("--gpu-max-memory-mb", "99999999999999999", "got `9999"),
            (
                "--gpu-allow-growth",
                "maybe",
                "`true` or `false`, got `maybe`",
            ),
            ("--gpu-idle", "0", "over 0 and up to 86400, got `0`"),
            ("--gpu-idle", "inf", "got `inf`"),
            ("--disable-gpu", "2", "got `2`"),
            (
                "--gpu-preset",
                "fast",
                "conservative, balanced, performance",
            ),
        ] {
            let error = parsed(&[&format!("{flag}={value}")]).expect_err(value);
            assert!(error.contains(expected), "{flag} {value}: {error}");
        }
    }

    #[test]
    fn a_named_gpu_is_refused_where_none_may_be_used() {
        let flags = parsed(&["--disable-gpu"]).expect("flags");
        let made = |device| flags.settings(device, "models".into(), vec![]);
        assert_eq!(
            made(DeviceChoice::Auto).expect("settings").device,
            DeviceChoice::Cpu
        );
        let error = made(DeviceChoice::Cuda(1)).expect_err("a GPU");
        assert_eq!(error, SettingsError::Disabled(DeviceChoice::Cuda(1)));
    }
}

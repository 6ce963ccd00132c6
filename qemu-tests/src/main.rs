//! `twinhull-qemu`: boots images in QEMU, breaks them on purpose and reports.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use twinhull_config::ConfigError;
use twinhull_layout::Arch;
use twinhull_qemu::artefacts::Artefacts;
use twinhull_qemu::cli::{
    BootTimeArguments, Cli, Command, DemoArguments, How, ProveArguments, RunArguments, TestArguments,
};
use twinhull_qemu::scenario::file::Written;
use twinhull_qemu::scenario::{self, Options, Piece, Ran};
use twinhull_qemu::steps::Board;
use twinhull_qemu::{Error, boot_time, cli, demo, interactive, isolation, page, report};

/// A scenario failed.
const FAILED: u8 = 1;
/// What was asked for makes no sense, as `clap` numbers it.
const USAGE: u8 = 2;
/// Nothing could be tried: a tool, an artefact or a right is missing.
const UNFIT: u8 = 3;
/// Interrupted, as shells number it.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()))
        .init();
    match start(cli.command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("twinhull-qemu: {}", told(&error));
            ExitCode::from(status(&error))
        }
    }
}

/// The exit status that tells of `error`.
fn status(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<Error>() {
        Some(Error::Usage(_)) => USAGE,
        Some(error) if error.is_environment() => UNFIT,
        None if error.is::<ConfigError>() => USAGE,
        Some(_) | None => FAILED,
    }
}

/// An error with its reasons, each of them once: most errors name theirs themselves.
fn told(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |told, reason| {
        let reason = reason.to_string();
        match told.as_str() {
            "" => reason,
            told if told.contains(&reason) => told.to_owned(),
            told => format!("{told}: {reason}"),
        }
    })
}

fn start(command: Command) -> anyhow::Result<u8> {
    if matches!(command, Command::List) {
        print!("{}", cli::list());
        return Ok(0);
    }
    if let Command::Check { scenarios } = &command {
        for path in scenarios {
            let written = Written::read(path)?;
            println!("{}: {}", path.display(), written.about);
        }
        return Ok(0);
    }
    // Before any thread: a thread that exists would keep the network outside.
    isolation::enter()?;
    if matches!(command, Command::Network) {
        println!("{}", isolation::interfaces()?.join("\n"));
        return Ok(0);
    }
    // One thread: children are tied to the life of the thread that starts them.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = perform(command) => outcome,
            signal = interrupted() => {
                signal?;
                eprintln!("twinhull-qemu: interrupted; machines are ended and their disks removed");
                Ok(INTERRUPTED)
            }
        }
    });
    // Children end with their tasks. A blocking thread is only ever reading, so it is not waited for.
    runtime.shutdown_background();
    outcome
}

async fn perform(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Test(arguments) => test(arguments).await,
        Command::Demo(arguments) => demonstrate(arguments).await,
        Command::Run(RunArguments {
            image,
            accelerator,
            memory,
        }) => {
            interactive::run(&image, accelerator, memory).await?;
            Ok(0)
        }
        Command::Prove(arguments) => prove(arguments).await,
        Command::BootTime(arguments) => boot_time(arguments).await,
        Command::Check { .. } | Command::List | Command::Network => Ok(0),
    }
}

async fn boot_time(arguments: BootTimeArguments) -> anyhow::Result<u8> {
    let request = boot_time::Request {
        images: arguments.images,
        texts: arguments.texts,
        runs: arguments.runs,
        memory_mib: arguments.memory,
        accelerator: arguments.accelerator,
    };
    if !arguments.json {
        println!(
            "{:>8} {:>8} {:>12} {:>12}  text, image",
            "CPU s", "s", "bytes read", "memory"
        );
    }
    let tell = |cost: &boot_time::Cost| {
        if arguments.json {
            println!("{}", serde_json::json!(cost));
            return;
        }
        println!(
            "{:>8.2} {:>8.2} {:>12} {:>12}  \"{}\", {}",
            cost.cpu_seconds,
            cost.seconds,
            cost.bytes_read,
            cost.memory,
            cost.text,
            cost.image.display()
        );
    };
    boot_time::measure(&request, tell).await?;
    Ok(0)
}

async fn test(arguments: TestArguments) -> anyhow::Result<u8> {
    let (image, files) = arguments.sorted()?;
    let image = image.map(|path| {
        path.canonicalize()
            .map_err(|error| Error::Usage(format!("cannot find the image {}: {error}", path.display())))
    });
    let image = image.transpose()?;
    let scenarios = files
        .iter()
        .map(|path| Written::read(path))
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(image) = &image
        && !scenarios.iter().any(Written::needs_an_image)
    {
        let why = "no machine of these scenarios would have it: each names an `image` or a `release` of its own";
        return Err(Error::Usage(format!("{}: {why}", image.display())).into());
    }
    std::fs::create_dir_all(&arguments.work)
        .with_context(|| format!("cannot make the folder {}", arguments.work.display()))?;
    let artefacts = Artefacts::open(&arguments.work, arguments.how.arch)?;
    let pieces = scenarios
        .into_iter()
        .map(|written| Piece::written(written, image.clone(), &artefacts))
        .collect::<Result<_, _>>()?;
    run(pieces, artefacts, arguments.how, 0).await
}

async fn prove(arguments: ProveArguments) -> anyhow::Result<u8> {
    let scenarios = scenario::select(&arguments.scenarios, arguments.all)?;
    let artefacts = Artefacts::open(&arguments.work, arguments.how.arch)?;
    let pieces = scenarios
        .into_iter()
        .map(|scenario| Piece::ours(scenario, &artefacts))
        .collect::<Result<_, _>>()?;
    run(pieces, artefacts, arguments.how, arguments.power_cuts).await
}

async fn run(pieces: Vec<Piece>, artefacts: Artefacts, how: How, power_cuts: u16) -> anyhow::Result<u8> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let options = Options {
        artefacts,
        accelerator: how.accelerator,
        jobs: how.jobs.map_or(cores, |jobs| jobs.get().into()),
        keep: how.keep,
        power_cuts,
    };
    let Ran { outcomes, logs, disks } = scenario::run(pieces, options, Board::new()).await?;
    let machine = report::machine();
    if let Some(path) = &how.json {
        let evidence = report::evidence(&outcomes, &report::commit(), &machine);
        report::write(path, &format!("{evidence:#}\n"))?;
    }
    if let Some(path) = &how.junit {
        report::write(path, &report::junit(&outcomes))?;
    }
    if let Some(path) = &how.html {
        report::write(path, &page::html(&outcomes, &report::commit(), &machine))?;
        println!("report: {}", path.display());
    }
    println!("logs: {}", logs.display());
    if let Some(disks) = disks {
        println!("disks: {}", disks.display());
    }
    print!("{}", report::table(&outcomes));
    Ok(if outcomes.iter().all(report::Outcome::passed) {
        0
    } else {
        FAILED
    })
}

async fn demonstrate(arguments: DemoArguments) -> anyhow::Result<u8> {
    let options = Options {
        artefacts: Artefacts::open(&arguments.work, Arch::X86_64)?,
        accelerator: arguments.accelerator,
        jobs: 1,
        keep: arguments.keep,
        power_cuts: 0,
    };
    let shown = demo::run(&options).await?;
    print!("{shown}");
    Ok(0)
}

/// Waits for Ctrl-C or a request to end.
async fn interrupted() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot wait for signals")?;
    tokio::select! {
        outcome = tokio::signal::ctrl_c() => outcome.context("cannot wait for signals"),
        _ = terminate.recv() => Ok(()),
        _ = hangup.recv() => Ok(()),
    }
}

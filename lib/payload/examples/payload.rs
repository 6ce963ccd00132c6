//! Makes and applies payloads from the command line; prints what it cost.
//!
//! ```text
//! payload make LEVEL NEW PAYLOAD [BASE]
//! payload apply PAYLOAD TARGET [BASE]     and the verity tree to TARGET.verity
//! payload show PAYLOAD
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::process::ExitCode;

use twinhull_payload::{Applier, DirectFile, Header, MakeOptions, ReadAt, RunKind, Sha256Hash, Source, make};
use twinhull_verity::TreeWriter;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["make", level, new, payload] => run_make(level, new, payload, None),
        ["make", level, new, payload, base] => run_make(level, new, payload, Some(base)),
        ["apply", payload, target] => run_apply(payload, target, None),
        ["apply", payload, target, base] => run_apply(payload, target, Some(base)),
        ["show", payload] => show(payload),
        _ => Err("usage: payload make LEVEL NEW PAYLOAD [BASE] | apply PAYLOAD TARGET [BASE] | show PAYLOAD".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run_make(level: &str, new: &str, payload: &str, base: Option<&str>) -> Result<(), Box<dyn Error>> {
    let new = File::open(new)?;
    let base = base.map(File::open).transpose()?;
    let mut out = BufWriter::new(File::create(payload)?);
    let options = MakeOptions {
        level: level.parse()?,
        ..MakeOptions::default()
    };
    let base = base.as_ref().map(|base| base as &dyn Source);
    let made = make(&new, base, &options, &mut out, &mut |_, _| ())?;
    out.flush()?;
    println!(
        "{} bytes, header {} bytes {}",
        made.size, made.header_size, made.header_sha256
    );
    Ok(())
}

/// The header of a payload file. A host takes size and hash from signed metadata; here the file is believed.
fn read_header(file: &mut File) -> Result<Header, Box<dyn Error>> {
    let mut size = [0; 4];
    ReadAt::read_at(file, 12, &mut size)?;
    let mut bytes = vec![0; u32::from_le_bytes(size) as usize];
    file.read_exact(&mut bytes)?;
    Ok(Header::read(
        &mut &bytes[..],
        &Sha256Hash::of(&bytes),
        bytes.len() as u64,
    )?)
}

fn run_apply(payload: &str, target: &str, base: Option<&str>) -> Result<(), Box<dyn Error>> {
    let mut payload = File::open(payload)?;
    let header = read_header(&mut payload)?;
    let base = base.map(File::open).transpose()?;
    let base = base.as_ref().map(|base| base as &dyn ReadAt);
    // As on a host, where it goes to a partition of its own: in memory it would be a 128th of the image.
    let hashes = File::create(format!("{target}.verity"))?;
    let options = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .clone();
    let target = DirectFile::open(target.as_ref(), &options)?;
    let mut tree = TreeWriter::new(header.output_size().div_ceil(4096), *header.salt(), &hashes)?;
    let mut applier = Applier::new(&header, base, &target)?;
    let done = applier.apply(&mut payload, &mut |part| {
        let mut leaves = part.leaves.iter();
        leaves
            .try_for_each(|leaf| tree.push_leaf(*leaf))
            .map_err(io::Error::other)
    })?;
    let tree = tree.finish();
    target.file().sync_all()?;
    hashes.sync_all()?;
    match tree {
        Ok((root_hash, _)) => println!("{done:?}, root hash {root_hash}"),
        Err(_) => println!("{done:?}, no whole number of blocks: no root hash"),
    }
    Ok(())
}

fn show(payload: &str) -> Result<(), Box<dyn Error>> {
    let mut file = File::open(payload)?;
    let header = read_header(&mut file)?;
    let mut runs: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let mut codecs: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
    for segment in header.segments() {
        for run in &segment.runs {
            let name = match run.kind {
                RunKind::Literal => "literal",
                RunKind::Base(_) => "base",
                RunKind::Output(_) => "output",
                RunKind::Zero => "zero",
            };
            let entry = runs.entry(name).or_default();
            *entry = (entry.0 + 1, entry.1 + u64::from(run.blocks) * 4096);
        }
        let literals = u64::from(segment.literal_size(header.output_size()));
        if let Some(coding) = segment.coding {
            let entry = codecs.entry(format!("{:?}", coding.codec)).or_default();
            *entry = (entry.0 + 1, entry.1 + literals, entry.2 + u64::from(coding.blob_size));
        }
    }
    println!(
        "output {} base {} header {} payload {} segments {}",
        header.output_size(),
        header.base_size(),
        header.header_size(),
        header.payload_size(),
        header.segment_count()
    );
    for (name, (count, bytes)) in runs {
        println!("runs {name:8} {count:8} {bytes:12} bytes of output");
    }
    for (name, (count, literals, blobs)) in codecs {
        println!("blobs {name:10} {count:5} {literals:12} -> {blobs:12}");
    }
    Ok(())
}

//! `wasm-image MODULE TAG DIRECTORY`: packs a module as two images, writes them as the layouts
//! DIRECTORY and DIRECTORY-compat, and prints the digest of each.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use wasm_image::{Image, ImageVariant, pack};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [module, tag, directory] = arguments.as_slice() else {
        eprintln!("usage: wasm-image MODULE TAG DIRECTORY");
        return ExitCode::from(2);
    };
    match run(Path::new(module), tag, directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wasm-image: {module}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(module: &Path, tag: &str, directory: &str) -> Result<(), Box<dyn Error>> {
    let module = fs::read(module)?;
    for (variant, suffix) in [(ImageVariant::Artifact, ""), (ImageVariant::Compat, "-compat")] {
        let image = pack(&module, tag, variant)?;
        let directory = format!("{directory}{suffix}");
        write(&image, Path::new(&directory))?;
        println!("sha256:{}  {directory}", image.digest);
    }
    Ok(())
}

/// Writes a layout. An existing layout is removed first, so that no blob of another module stays in it.
fn write(image: &Image, directory: &Path) -> Result<(), Box<dyn Error>> {
    if directory.join("oci-layout").is_file() {
        fs::remove_dir_all(directory)?;
    } else if directory.exists() {
        return Err(format!(
            "{} exists and is not an image layout; remove it or name another directory",
            directory.display()
        )
        .into());
    }
    for (path, bytes) in &image.files {
        let path: PathBuf = directory.join(path);
        fs::create_dir_all(path.parent().unwrap_or(directory))?;
        fs::write(path, bytes)?;
    }
    Ok(())
}

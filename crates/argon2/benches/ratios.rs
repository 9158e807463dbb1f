//! Ours against RustCrypto `argon2`, in turns: `cargo bench -p password-verify-argon2`.
//!
//! First the kernel, on memory that fits the second-level cache, in ns per block of 1 KiB. Then whole
//! hashes, each with its memory: a mapping made and given back against what RustCrypto allocates.
//! What is first in a table is a ratio. Times are CPU time, which on a quiet machine is all time: one
//! thread computes, and a busy machine must not be counted.
//!
//! `PASSWORD_VERIFY_ARGON2_PATH` (avx512, avx2, portable) leaves only that path of ours.
//! `ROUNDS` is how often each is run. With the argument `--json` (`cargo bench … -- --json`) only the kernel is
//! measured, and each round of each candidate printed, as JSON, for `make bench`.

#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Duration;

use argon2::{Algorithm, Argon2, Version};
use password_verify_argon2::{Arena, Block, Inputs, Params, Path, hash_on};

const INPUTS: Inputs = Inputs {
    password: b"correct horse battery staple",
    salt: b"sixteenbytesalt!",
    secret: b"",
    associated_data: b"",
};

/// One way of computing something, timed.
type Candidate<'a> = (String, Box<dyn FnMut() -> Duration + 'a>);

fn main() {
    let rounds = std::env::var("ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let only = std::env::var("PASSWORD_VERIFY_ARGON2_PATH").ok();
    let only = only.map(|name| Path::from_name(&name).unwrap());
    let paths: Vec<Path> = Path::available()
        .filter(|path| *path != Path::Portable)
        .filter(|path| only.is_none_or(|only| only == *path))
        .collect();
    if std::env::args().any(|argument| argument == "--json") {
        let taken: Vec<String> = [1, 4].map(|p| json(p, kernel(&paths, p), rounds)).into();
        println!("[{}]", taken.join(", "));
        return;
    }
    println!("{}, huge pages {}", cpu(), Arena::new(1).unwrap().expects_huge_pages());

    for p in [1, 4] {
        println!("\nkernel: m=256 KiB t=100 p={p}, one mapping for all passes, ns per block");
        interleave(kernel(&paths, p), rounds, per_block(p));
    }
    for (m, t, p) in [(19 * 1024, 2, 1), (65536, 3, 1), (65536, 3, 4), (131_072, 3, 4)] {
        whole(&paths, Params::new(m, t, p).unwrap(), rounds);
    }
}

fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    model.trim_start_matches(['\t', ' ', ':']).to_owned()
}

/// What the kernel is measured with: memory that fits the second-level cache, and many passes.
fn kernel_params(p: u32) -> Params {
    Params::new(256, 100, p).unwrap()
}

/// ns per block.
fn per_block(p: u32) -> impl Fn(Duration) -> f64 {
    let blocks = kernel_params(p).blocks() * kernel_params(p).t() as usize;
    move |taken| taken.as_nanos() as f64 / blocks as f64
}

/// Each in memory that it keeps.
fn kernel(paths: &[Path], p: u32) -> Vec<Candidate<'static>> {
    let params = kernel_params(p);
    let mut candidates: Vec<Candidate> = Vec::new();
    for path in paths.iter().copied().chain([Path::Portable]) {
        let mut arena = Arena::new(params.blocks()).unwrap();
        candidates.push((
            if path == Path::Portable { "RustCrypto".into() } else { path.name().into() },
            Box::new(move || {
                time(|tag| hash_on(path, arena.blocks(), params, &INPUTS, tag).unwrap())
            }),
        ));
    }
    candidates
}

/// The ns per block of every round.
fn json(p: u32, mut candidates: Vec<Candidate>, rounds: usize) -> String {
    let taken = in_turns(&mut candidates, rounds, per_block(p));
    let each: Vec<String> = candidates
        .iter()
        .zip(taken)
        .map(|((name, _), taken)| format!(r#""{name}": {taken:?}"#))
        .collect();
    format!(r#"{{"p": {p}, "ns_per_block": {{{}}}}}"#, each.join(", "))
}

/// ms per hash, memory included.
fn whole(paths: &[Path], params: Params, rounds: usize) {
    let mut candidates: Vec<Candidate> = Vec::new();
    for path in paths.iter().copied() {
        candidates.push((
            path.name().into(),
            Box::new(move || {
                time(|tag| {
                    let mut arena = Arena::new(params.blocks()).unwrap();
                    hash_on(path, arena.blocks(), params, &INPUTS, tag).unwrap();
                })
            }),
        ));
    }
    candidates.push((
        "RustCrypto, mapping".into(),
        Box::new(move || {
            time(|tag| {
                let mut arena = Arena::new(params.blocks()).unwrap();
                hash_on(Path::Portable, arena.blocks(), params, &INPUTS, tag).unwrap();
            })
        }),
    ));
    candidates.push((
        "RustCrypto, Vec".into(),
        Box::new(move || {
            let built =
                argon2::Params::new(params.m_kib(), params.t(), params.p(), Some(32)).unwrap();
            let it = Argon2::new(Algorithm::Argon2id, Version::V0x13, built);
            time(|tag| {
                let mut memory = vec![Block::new(); params.blocks()];
                it.hash_password_into_with_memory(INPUTS.password, INPUTS.salt, tag, &mut memory)
                    .unwrap();
            })
        }),
    ));
    let (m, t, p) = (params.m_kib(), params.t(), params.p());
    println!("\nhash: m={} MiB t={t} p={p}, memory asked for and given back, ms", m / 1024);
    interleave(candidates, rounds, |taken| taken.as_secs_f64() * 1000.0);
}

fn time(hash: impl FnOnce(&mut [u8])) -> Duration {
    let mut tag = [0; 32];
    let start = cpu_time();
    hash(black_box(&mut tag));
    let taken = cpu_time() - start;
    black_box(tag);
    taken
}

/// What this thread has computed so far, and the kernel for it.
#[allow(unsafe_code)]
fn cpu_time() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the result lives through the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Runs them in turns and prints, for each, how many times the last one takes longer: the median of
/// the ratios of each round, and that of the minima.
fn interleave(mut candidates: Vec<Candidate>, rounds: usize, unit: impl Fn(Duration) -> f64) {
    let taken = in_turns(&mut candidates, rounds, unit);
    let yardstick = taken.last().cloned().unwrap_or_default();
    println!("{:>8} {:>8}  {:20} {:>8} {:>8}", "ratio", "of min", "", "min", "median");
    for ((name, _), taken) in candidates.iter().zip(&taken) {
        let ratios = yardstick.iter().zip(taken).map(|(longer, it)| longer / it).collect();
        let (min, of_min) = (least(taken), least(&yardstick) / least(taken));
        let (ratio, median) = (median(ratios), median(taken.clone()));
        println!("{ratio:>8.2} {of_min:>8.2}  {name:20} {min:>8.1} {median:>8.1}");
    }
}

/// What each took in each round.
fn in_turns(
    candidates: &mut [Candidate],
    rounds: usize,
    unit: impl Fn(Duration) -> f64,
) -> Vec<Vec<f64>> {
    let mut taken = vec![Vec::new(); candidates.len()];
    // There and back, so that each comes after the others: what one gives back, the next one gets.
    for round in 0..rounds {
        for at in 0..candidates.len() {
            let at = if round % 2 == 0 { at } else { candidates.len() - 1 - at };
            taken[at].push(unit((candidates[at].1)()));
        }
    }
    taken
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

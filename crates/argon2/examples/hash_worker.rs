//! A candidate of `make bench`: hashes when told to and says how long it took.
//!
//! The argument says what hashes: `ours`, the path of ours by name (`avx512`, `avx2`), or `rustcrypto`, which
//! is its plain API. A line `m t p n` (m in KiB) is answered by a line of JSON: n wall times and n CPU
//! times of the process in ns, and the tag, by which the driver sees that all compute the same.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Version};
use password_verify_argon2::{Arena, Inputs, Params, Path, hash_on};

const PASSWORD: &[u8] = b"correct horse battery staple";
const SALT: &[u8] = b"sixteenbytesalt!";

fn main() {
    let name = std::env::args().nth(1).unwrap_or_default();
    let path = match name.as_str() {
        "ours" => Some(Path::best()),
        "rustcrypto" => None,
        name => Some(Path::from_name(name).unwrap()),
    };
    let mut answers = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let numbers: Vec<u32> =
            line.unwrap().split_whitespace().map(|word| word.parse().unwrap()).collect();
        let [m, t, p, n] = numbers[..] else { std::process::exit(2) };
        let (mut wall, mut cpu, mut tag) = (Vec::new(), Vec::new(), [0; 32]);
        for _ in 0..n {
            let (start, start_cpu) = (Instant::now(), cpu_time());
            match path {
                Some(path) => ours(path, m, t, p, &mut tag),
                None => rustcrypto(m, t, p, &mut tag),
            }
            wall.push(start.elapsed().as_nanos());
            cpu.push((cpu_time() - start_cpu).as_nanos());
        }
        let tag: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(answers, r#"{{"wall": {wall:?}, "cpu": {cpu:?}, "tag": "{tag}"}}"#).unwrap();
        answers.flush().unwrap();
    }
}

/// As the server does it: memory asked for and given back for each hash.
fn ours(path: Path, m: u32, t: u32, p: u32, tag: &mut [u8]) {
    let params = Params::new(m, t, p).unwrap();
    let mut arena = Arena::new(params.blocks()).unwrap();
    let inputs = Inputs { password: PASSWORD, salt: SALT, ..Inputs::default() };
    hash_on(path, arena.blocks(), params, &inputs, tag).unwrap();
}

fn rustcrypto(m: u32, t: u32, p: u32, tag: &mut [u8]) {
    let params = argon2::Params::new(m, t, p, Some(tag.len())).unwrap();
    let it = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    it.hash_password_into(PASSWORD, SALT, tag).unwrap();
}

/// What all threads of this process have computed so far, and the kernel for them.
#[allow(unsafe_code)]
fn cpu_time() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the result lives through the call.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

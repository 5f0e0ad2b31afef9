//! What the fuzzer has found worth keeping, the fixtures, and mutations of both.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;

use testkit::bad_input::check::check;
use testkit::random::Random;

/// How many mutations of each kept input are tried.
const MUTATIONS: usize = 10;

/// Every kept input: the fuzzer's, and the requests of the fixtures.
fn inputs() -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut inputs = Vec::new();
    for folder in ["fuzz/corpus/decide", "tests/fixtures"] {
        for entry in fs::read_dir(root.join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.display().to_string();
            if folder != "tests/fixtures" || name.contains(".request.") {
                inputs.push((name, fs::read(path).expect("a file")));
            }
        }
    }
    inputs.sort();
    inputs
}

/// Checks, and names what fails.
fn check_named(name: &str, input: &[u8]) {
    if std::panic::catch_unwind(|| check(input)).is_err() {
        panic!(
            "{name}, the input being {:?}",
            String::from_utf8_lossy(input)
        );
    }
}

#[test]
fn what_was_found_once_and_the_fixtures_obey_the_contract() {
    for (name, input) in inputs() {
        check_named(&name, &input);
    }
}

/// A few of the mutations that the fuzzer has, blindly.
#[test]
fn mutations_of_them_obey_the_contract() {
    let seed = std::env::var_os("MUTATION_SEED").and_then(|seed| seed.to_str()?.parse().ok());
    let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("MUTATION_SEED={seed} repeats this");
    let mut random = Random::new(seed, 0);
    let inputs = inputs();
    for (name, input) in &inputs {
        for _ in 0..MUTATIONS {
            let mut input = input.clone();
            for _ in 0..1 + random.below(4) {
                mutate(&mut input, &inputs, &mut random);
            }
            check_named(
                &format!("a mutation of {name}, MUTATION_SEED={seed}"),
                &input,
            );
        }
    }
}

fn mutate(input: &mut Vec<u8>, inputs: &[(String, Vec<u8>)], random: &mut Random) {
    const PIECES: [&[u8]; 16] = [
        b"\"", b"{", b"}", b"[", b"]", b",", b":", b"<", b"</data>", b"\0", b"\\u0000", b"\xff",
        b"null", b"-0", b"1e400", b" ",
    ];
    let place = random.below(input.len() + 1);
    let end = place + random.below(16).min(input.len() - place);
    match random.below(5) {
        0 => drop(input.splice(
            place..place,
            PIECES[random.below(PIECES.len())].iter().copied(),
        )),
        1 => drop(input.drain(place..end)),
        2 => input.extend_from_within(place..end),
        3 if place < input.len() => input[place] = random.bits() as u8,
        _ => {
            let (_, other) = &inputs[random.below(inputs.len())];
            let from = random.below(other.len());
            let to = from + random.below(64).min(other.len() - from);
            drop(input.splice(place..end, other[from..to].iter().copied()));
        }
    }
}

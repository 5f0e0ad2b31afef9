//! The rules of the house, read from the code: who knows whom, and who alone knows what.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::documents;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

/// A file: the path of its module, and its code without comments and tests.
struct File {
    module: String,
    code: String,
}

fn files() -> Vec<File> {
    let files: Vec<_> = documents::files("src", "rs")
        .iter()
        .filter_map(|path| read(path))
        .collect();
    assert!(files.len() > 50, "the sources are not where they were");
    files
}

/// None of those that look at what nobody else may.
fn read(path: &Path) -> Option<File> {
    let relative = path
        .strip_prefix(SOURCES)
        .expect("below")
        .with_extension("");
    let names: Vec<_> = relative.iter().map(|name| name.to_string_lossy()).collect();
    let names = match names.last().map(AsRef::as_ref) {
        Some("mod" | "lib" | "main") => &names[..names.len() - 1],
        Some("tests" | "architecture" | "documents") => return None,
        _ => &names[..],
    };
    let text = fs::read_to_string(path).expect("a text");
    let text = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let code = code.collect::<Vec<_>>().join("\n");
    let module = names.join("::");
    Some(File { module, code })
}

/// The paths of all `use crate::…` and `use super::…`, each written out.
fn uses(file: &File) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for statement in file.code.split("use ").skip(1) {
        let statement = statement.split(';').next().unwrap_or_default();
        let statement: String = statement.split_whitespace().collect::<Vec<_>>().join(" ");
        if ["crate::", "super::", "self::"]
            .iter()
            .any(|root| statement.starts_with(root))
        {
            expand("", &statement, &mut paths);
        }
    }
    paths
        .iter()
        .filter_map(|path| absolute(&file.module, path))
        .collect()
}

/// `a::{b, c::{d, e}}` is `a::b`, `a::c::d` and `a::c::e`.
fn expand(prefix: &str, tree: &str, paths: &mut BTreeSet<String>) {
    let Some((head, rest)) = tree.split_once('{') else {
        paths.insert(format!(
            "{prefix}{}",
            tree.split(" as ").next().unwrap_or(tree)
        ));
        return;
    };
    let inside = rest.rsplit_once('}').map_or(rest, |(inside, _)| inside);
    let (mut depth, mut start) = (0, 0);
    for (end, c) in inside.char_indices().chain([(inside.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let branch = inside[start..end].trim();
                if !branch.is_empty() {
                    expand(&format!("{prefix}{head}"), branch, paths);
                }
                start = end + 1;
            }
            _ => {}
        }
    }
}

fn absolute(module: &str, path: &str) -> Option<String> {
    let mut base: Vec<&str> = module.split("::").collect();
    let mut names = path.split("::").peekable();
    match names.next()? {
        "crate" => base.clear(),
        "self" => {}
        _ => {
            base.pop();
            while names.next_if_eq(&"super").is_some() {
                base.pop();
            }
        }
    }
    base.extend(names);
    Some(base.join("::"))
}

/// The file that has what is named: its module is the longest one that the path begins with.
fn file_of<'f>(files: &'f [File], path: &str) -> Option<&'f str> {
    let has = |file: &&File| {
        let rest = path.strip_prefix(file.module.as_str());
        !file.module.is_empty()
            && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    let file = files
        .iter()
        .filter(has)
        .max_by_key(|file| file.module.len())?;
    Some(&file.module)
}

fn edges(files: &[File]) -> BTreeMap<&str, BTreeSet<&str>> {
    let of = |file: &'_ File| -> BTreeSet<&str> {
        let known = uses(file);
        let known = known.iter().filter_map(|path| file_of(files, path));
        known.filter(|other| *other != file.module).collect()
    };
    files
        .iter()
        .map(|file| (file.module.as_str(), of(file)))
        .collect()
}

/// The table in the documentation of the crate.
fn allowed() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let rows = include_str!("lib.rs")
        .lines()
        .filter(|line| line.starts_with("//! | `"));
    rows.map(|row| {
        let mut names = row.split('`').skip(1).step_by(2);
        (names.next().expect("a module"), names.collect())
    })
    .collect()
}

#[test]
fn each_module_knows_those_that_it_may() {
    let files = files();
    let allowed = allowed();
    let mut wrong = Vec::new();
    for (file, known) in edges(&files) {
        let top = file.split("::").next().unwrap_or_default();
        if top.is_empty() || top == "cli" {
            continue;
        }
        let may = allowed
            .get(top)
            .unwrap_or_else(|| panic!("no row in lib.rs for {top}"));
        for other in known {
            let other_top = other.split("::").next().unwrap_or_default();
            if other_top != top && !may.contains(other_top) {
                wrong.push(format!("{file} uses {other}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "not in the table of lib.rs:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn no_two_files_know_each_other_in_a_circle() {
    let files = files();
    let mut open = edges(&files);
    // What knows only those that are in no circle is in none.
    loop {
        let free: Vec<&str> = open
            .iter()
            .filter(|(_, known)| known.iter().all(|other| !open.contains_key(other)))
            .map(|(file, _)| *file)
            .collect();
        if free.is_empty() {
            break;
        }
        free.iter().for_each(|file| drop(open.remove(file)));
    }
    // Nor is one that no other of them knows.
    loop {
        let known: BTreeSet<&str> = open.values().flatten().copied().collect();
        let before = open.len();
        open.retain(|file, _| known.contains(file));
        if open.len() == before {
            break;
        }
    }
    assert!(open.is_empty(), "in circles: {:?}", open.keys());
}

/// That is, no file outside of `owner` has one of these words in its code.
fn check_owner(owner: &str, words: &[&str]) {
    for file in files() {
        if file.module == owner || file.module.starts_with(&format!("{owner}::")) {
            continue;
        }
        for word in words {
            assert!(
                !file.code.contains(word),
                "{} has {word:?}, as only {owner} may",
                file.module
            );
        }
    }
}

#[test]
fn each_secret_of_a_library_has_one_owner() {
    check_owner("broker", &["use lapin", " lapin::", "(lapin::", "<lapin::"]);
    check_owner(
        "store",
        &["tokio_postgres::", "deadpool::", "deadpool_postgres::"],
    );
    check_owner("store::error", &["SqlState", "as_db_error"]);
    check_owner("telemetry", &["prometheus_client", "opentelemetry"]);
    check_owner("cli", &["println!", "clap::"]);
}

#[test]
fn the_broker_knows_the_contract_in_two_files() {
    for File { module, code } in files() {
        let is_owner = ["broker::messages", "broker::header_names"].contains(&module.as_str());
        if module.starts_with("broker") && !is_owner {
            for word in [
                "\"application/",
                "\"profile.added",
                "\"profiles.add",
                "\"x-error",
                "\"x-worker",
            ] {
                assert!(!code.contains(word), "{module} has {word}");
            }
        }
    }
}

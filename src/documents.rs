//! What stands both in `docs/` and in the code is the same in both.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Checks that a page of `docs/` has this table, which is known by its first line.
///
/// With `WRITE_DOCS` set the page is written anew instead.
pub(crate) fn has_table(page: &str, table: &str) {
    let path = root().join("docs").join(page);
    let text = fs::read_to_string(&path).unwrap();
    let head = table.lines().next().unwrap();
    let start = text.find(head).expect("a table");
    let length = text[start..]
        .find("\n\n")
        .map_or(text.len() - start, |end| end + 1);
    let written = &text[start..start + length];
    if written == table {
        return;
    }
    assert!(
        std::env::var_os("WRITE_DOCS").is_some(),
        "docs/{page} has another table than the code; to write it anew: \
         WRITE_DOCS=1 cargo test --lib the_documentation_has_the_table"
    );
    fs::write(path, text.replace(written, table)).unwrap();
}

/// All files with this extension below a folder of the repository.
pub(crate) fn files(folder: &str, wanted: &str) -> Vec<PathBuf> {
    let mut folders = vec![root().join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == wanted)
            {
                files.push(path);
            }
        }
    }
    files
}

/// All code, with each text in one line.
fn code() -> String {
    let mut code = String::new();
    for file in files("src", "rs") {
        let text = fs::read_to_string(file).unwrap();
        let mut parts = text.split("\\\n");
        code.push_str(parts.next().unwrap_or_default());
        parts.for_each(|part| code.push_str(part.trim_start()));
    }
    code
}

#[test]
fn log_lines_of_the_documentation_are_in_the_code() {
    let code = code();
    let page = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let (_, section) = page
        .split_once("## Which log line means what?")
        .expect("the section");
    let rows: Vec<_> = section
        .lines()
        .filter_map(|row| row.strip_prefix("| `"))
        .collect();
    assert!(rows.len() >= 20);
    for row in rows {
        let line = row.split('`').next().unwrap_or_default();
        for part in line
            .split('…')
            .map(|part| part.trim_matches([' ', ':', ';']))
        {
            assert!(
                code.contains(part),
                "no log line says {part:?}: docs/operations.md"
            );
        }
    }
}

/// The pages, but for the changelog, which tells of files that are gone.
fn pages() -> Vec<PathBuf> {
    let folders = ["docs", "migrations", "deploy", "tests/fixtures", "examples"];
    let mut pages = vec![root().join("README.md")];
    pages.extend(folders.iter().flat_map(|folder| files(folder, "md")));
    pages
}

#[test]
fn files_that_the_documentation_names_are_there() {
    let folders = [
        "src/",
        "tests/",
        "testkit/",
        "scripts/",
        "docs/",
        "deploy/",
        "examples/",
        "benches/",
        "fuzz/",
        "migrations/",
    ];
    let mut count = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        // Between backticks, without what follows a program's name.
        for name in text.split('`').skip(1).step_by(2) {
            let name = name.split_whitespace().next().unwrap_or_default();
            let is_path = folders.iter().any(|folder| name.starts_with(folder));
            if !is_path || name.contains(['*', '…', '<']) {
                continue;
            }
            count += 1;
            assert!(
                root().join(name).exists() || root().join(format!("{name}.rs")).exists(),
                "{} names {name}, which is not there",
                page.display()
            );
        }
    }
    assert!(count >= 30, "only {count} names were found");
}

#[test]
fn the_way_of_a_request_names_files_that_are_there() {
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let (_, section) = page
        .split_once("## One request, file by file")
        .expect("the section");
    let list = section.split("```").nth(1).expect("the list");
    let names: Vec<_> = list
        .lines()
        .skip(1)
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(names.len() >= 10);
    for name in names {
        let path = root().join("src").join(name);
        assert!(
            path.is_dir() || path.with_extension("rs").exists(),
            "src/{name} is not there"
        );
    }
}

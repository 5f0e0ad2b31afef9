//! Files that people have, sent by `profile-worker send`.

use std::fs;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use testkit::worker::command;
use testkit::world::World;
use tokio::process::Command;

use crate::commands::{err, out};

/// A folder of a test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(world: &World) -> Self {
        let path = std::env::temp_dir().join(&world.name);
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("UTF-8").to_owned()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, content).expect("written");
        path
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("a text")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// `send` with the settings and the token of a world.
fn send(world: &World, arguments: &[&str]) -> Command {
    let mut command = command();
    command
        .arg("send")
        .args(arguments)
        .envs(world.settings())
        .env("API_TOKEN", &world.token)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn sent(world: &World, arguments: &[&str]) -> Output {
    send(world, arguments).output().await.expect("its end")
}

/// A table of contacts as Excel writes it on a Russian Windows: windows-1251, semicolons, a line
/// break in a cell.
fn from_excel() -> Vec<u8> {
    let text = "E-mail;Имя;Телефон;Заметки\r\n\
                ivan@example.com;Иван;+7 900 000-00-01;\"звонить\r\nпосле шести; не раньше\"\r\n\
                maria@example.com;Мария;\"+7 900 000-00-02, +7 900 000-00-03\";\r\n\
                oleg@example;Олег;;\r\n\
                lena@example.com;Лена\r\n\
                ;;;\r\n\
                anna@example.com;Анна;8 900;\r\n";
    let windows_1251 = |c: char| match c {
        'А'..='я' => u8::try_from(u32::from(c) - 0x410 + 0xc0).expect("a letter"),
        'Ё' => 0xa8,
        'ё' => 0xb8,
        _ => u8::try_from(u32::from(c)).expect("ASCII"),
    };
    text.chars().map(windows_1251).collect()
}

#[tokio::test]
async fn a_table_from_excel_is_added_and_its_refused_rows_can_be_mended() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let folder = Folder::new(&world);
    let file = folder.write("contacts.csv", from_excel());
    let report = folder.path("report.csv");
    let output = sent(&world, &[&file, "--db", "1", "--report", &report]).await;
    let said = err(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(output.stdout.is_empty());
    assert!(
        said.contains("CSV, \";\" between cells, windows-1251 by a guess"),
        "{said}"
    );
    assert!(said.contains("Имя      _fname"), "{said}");
    assert!(
        said.contains("2 added, 2 refused with 400; 1 row not sent"),
        "{said}"
    );

    let written = folder.read("report.csv");
    let mut rows = written
        .split("\r\nпосле шести")
        .collect::<Vec<_>>()
        .concat();
    rows = rows.replace('\u{feff}', "");
    let lines: Vec<_> = rows.lines().collect();
    assert_eq!(
        lines[0],
        "E-mail;Имя;Телефон;Заметки;error;error_text;profile_id"
    );
    assert!(
        lines[1].starts_with("ivan@example.com;Иван;+7 900 000-00-01;\"звонить; не раньше\";0;;")
    );
    assert!(
        lines[2].starts_with("maria@example.com;Мария;+7"),
        "{written}"
    );
    assert!(lines[3].contains(";400;data.email: "), "{written}");
    assert!(
        lines[4].contains("lena@example.com;Лена;;;400;line 6: has 2 of the 4 cells"),
        "{written}"
    );
    assert!(lines[5].contains(";400;data.phones[0]: "), "{written}");
    assert_eq!(lines.len(), 6);
    let names = world
        .texts("SELECT data->>'_fname' FROM profiles ORDER BY 1")
        .await;
    assert_eq!(names, ["Иван", "Мария"]);
    let notes = world
        .texts("SELECT data->>'Заметки' FROM profiles WHERE data ? 'Заметки'")
        .await;
    assert_eq!(notes, ["звонить\r\nпосле шести; не раньше"]);

    // Mended in a spreadsheet, and sent itself: what was added is not sent again.
    let mended = written
        .replace("oleg@example;", "oleg@example.com;")
        .replace("8 900;", "+7 900 000-00-04;");
    let mended = folder.write("mended.csv", mended);
    let second = folder.path("second.csv");
    let output = sent(&world, &[&mended, "--db", "1", "--report", &second]).await;
    let said = err(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("3 requests answered"), "{said}");
    assert!(
        said.contains("2 rows not sent, as they were added before"),
        "{said}"
    );
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, 5);
    let rows = folder.read("second.csv");
    assert_eq!(rows.matches(";0;;").count(), 5, "{rows}");
    // Nothing is left of it.
    let third = folder.path("third.csv");
    let output = sent(&world, &[&second, "--db", "1", "--report", &third]).await;
    assert!(
        err(&output).contains("0 requests answered"),
        "{}",
        err(&output)
    );
    assert_eq!(folder.read("third.csv"), rows);
}

#[tokio::test]
async fn an_import_that_was_killed_goes_on_and_adds_nothing_twice() {
    const ROWS: usize = 5000;
    let world = World::new().await;
    let _worker = world.worker().await;
    let folder = Folder::new(&world);
    // Without an email nothing but the message_id tells that a row was sent before.
    let rows = (0..ROWS).map(|i| format!("Jane {i},\"one\ntwo\"\n"));
    let file = folder.write(
        "contacts.csv",
        "Vorname,Note\n".to_owned() + &rows.collect::<String>(),
    );
    let report = folder.path("report.csv");
    let arguments = [file.as_str(), "--db", "1", "--report", &report];
    let mut kills = 0;
    for attempt in 0.. {
        let resume = if attempt == 0 { None } else { Some("--resume") };
        let arguments: Vec<_> = arguments.into_iter().chain(resume).collect();
        let mut child = send(&world, &arguments)
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let before = size(&report);
        let killing = async {
            while size(&report) < before + 60_000 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            ended = child.wait() => {
                assert!(ended.expect("its end").success());
                break;
            }
            () = killing => {
                child.kill().await.expect("killed");
                kills += 1;
                // The last row may be torn.
                let torn = fs::OpenOptions::new().write(true).open(&report).expect("the report");
                torn.set_len(size(&report) - 7).expect("cut");
            }
        }
    }
    assert!(kills >= 2, "it was killed {kills} times only");
    let written = folder.read("report.csv");
    let mut ids: Vec<_> = written
        .lines()
        .filter_map(|line| line.split(",0,,").nth(1))
        .collect();
    assert_eq!(ids.len(), ROWS);
    for (i, row) in written.split("\"one\ntwo\"").take(ROWS).enumerate() {
        assert!(row.ends_with(&format!("Jane {i},")), "{i}: {row}");
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), ROWS);
    let count = i64::try_from(ROWS).expect("a number");
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, count);

    // All is done: nothing is sent.
    let output = sent(&world, &[&arguments[..], &["--resume"]].concat()).await;
    let said = err(&output);
    assert!(
        output.status.success() && said.contains("0 requests answered"),
        "{said}"
    );
    // Another file than the one that the report is of.
    folder.write("contacts.csv", "Vorname,Note\nJo,x\n");
    let output = sent(&world, &[&arguments[..], &["--resume"]].concat()).await;
    assert_eq!(output.status.code(), Some(64), "{}", err(&output));
    assert!(
        err(&output).contains("row 1 of the report is not that of line 2"),
        "{}",
        err(&output)
    );
    assert_eq!(folder.read("report.csv"), written);
}

fn size(path: &str) -> u64 {
    fs::metadata(path).map_or(0, |data| data.len())
}

#[tokio::test]
async fn profiles_and_requests_in_lines_are_reported_and_sent_again() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let folder = Folder::new(&world);
    let request = world.request(r#""data":{"email":"a@example.com"}"#);
    // Of two in one file that want one email either may be the first.
    let mut client = world.client().await;
    let earlier = client.call(world.request(r#""data":{"email":"c@example.com"}"#));
    assert_eq!(earlier.await.error(), 0);
    let taken = r#"{"email":"C@example.com","_fname":"Jo"}"#;
    let file = folder.write(
        "profiles.jsonl",
        format!("{request}\n\nnonsense\n{taken}\n{{}}\n"),
    );
    let report = folder.path("report.jsonl");
    let output = sent(&world, &[&file, "--db", "1", "--report", &report]).await;
    assert_eq!(output.status.code(), Some(3), "{}", err(&output));
    let written = folder.read("report.jsonl");
    let lines: Vec<_> = written.lines().collect();
    let outcomes: Vec<_> = lines
        .iter()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["error"].clone())
        .collect();
    assert_eq!(outcomes, [0, 400, 409, 0], "{written}");
    assert!(
        lines[0].starts_with(request.trim_end_matches('}')),
        "{written}"
    );
    assert!(lines[1].starts_with(r#"{"line":"nonsense","#), "{written}");
    assert!(
        lines[2].starts_with(taken.trim_end_matches('}')),
        "{written}"
    );

    let mended = written
        .replace("C@example.com", "b@example.com")
        .replace("nonsense", "{}");
    let mended = folder.write("mended.jsonl", mended);
    let output = sent(&world, &[&mended, "--db", "1"]).await;
    assert!(output.status.success(), "{}", err(&output));
    // Replies in the order of the lines; those of the report are told as they were.
    assert_eq!(out(&output).lines().count(), 4);
    // The line that is mended to an empty profile equals the last one: one request, one profile.
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, 4);
}

#[tokio::test]
async fn contacts_of_a_phone_become_profiles() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let folder = Folder::new(&world);
    let file = folder.write(
        "contacts.vcf",
        "BEGIN:VCARD\nVERSION:3.0\nN:Doe;Jane;;;\nFN:Jane Doe\nEMAIL:jane@example.com\n\
         TEL;TYPE=CELL:+1 (202) 555-0123\nBDAY:1996-04-15\nEND:VCARD\n\
         BEGIN:VCARD\nVERSION:4.0\nFN:Jo\nTEL:555-0123\nEND:VCARD\n",
    );
    let report = folder.path("report.csv");
    let output = sent(
        &world,
        &[
            &file,
            "--db",
            "1",
            "--map",
            "full_name=",
            "--report",
            &report,
        ],
    )
    .await;
    assert_eq!(output.status.code(), Some(3), "{}", err(&output));
    let data = world.texts("SELECT data::text FROM profiles").await;
    assert_eq!(
        data,
        [
            r#"{"_bdate": "1996-04-15", "_fname": "Jane", "_lname": "Doe", "phones": ["+12025550123"]}"#
        ]
    );
    let mended = folder
        .read("report.csv")
        .replace("555-0123,,,Jo", "+12025550124,,,Jo");
    let mended = folder.write("mended.csv", mended);
    let output = sent(
        &world,
        &[
            &mended,
            "--db",
            "1",
            "--map",
            "full_name=_fname",
            "--map",
            "first_name=",
        ],
    )
    .await;
    assert!(output.status.success(), "{}", err(&output));
    let names = world
        .texts("SELECT data->>'_fname' FROM profiles ORDER BY 1")
        .await;
    assert_eq!(names, ["Jane", "Jo"]);
}

#[tokio::test]
async fn a_check_needs_no_servers_and_says_what_a_worker_would() {
    let world = World::new().await;
    let worker = world.worker().await;
    let folder = Folder::new(&world);
    let file = folder.write("contacts.csv", from_excel());
    let without_servers = |arguments: &[&str]| {
        let mut command = command();
        command.arg("send").args(arguments);
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    };
    let checked = without_servers(&[&file, "--db", "1", "--check"])
        .output()
        .await
        .expect("its end");
    assert_eq!(checked.status.code(), Some(3), "{}", err(&checked));
    let found = out(&checked);
    let found: Vec<_> = found.lines().collect();
    assert!(found[0].starts_with("line 5: data.email: "), "{found:?}");
    assert!(
        found[1].starts_with("line 6: has 2 of the 4 cells"),
        "{found:?}"
    );
    assert!(
        found[2].starts_with("line 8: data.phones[0]: "),
        "{found:?}"
    );
    assert!(err(&checked).contains("5 requests checked, nothing sent, 3 to be refused with 400"));

    let shown = without_servers(&[&file, "--db", "1", "--dry-run"])
        .output()
        .await
        .expect("its end");
    let requests = folder.write("requests.jsonl", &shown.stdout);
    assert_eq!(out(&shown).lines().count(), 4);
    // What it shows is what is sent, and a worker answers what it says.
    let output = sent(&world, &[&requests]).await;
    let replies = out(&output);
    let texts: Vec<_> = replies
        .lines()
        .map(|reply| serde_json::from_str::<serde_json::Value>(reply).expect("JSON"))
        .filter(|reply| reply["error"] != 0)
        .map(|reply| reply["error_text"].as_str().expect("a text").to_owned())
        .collect();
    assert_eq!(texts.len(), 2);
    for text in texts {
        assert!(found.iter().any(|line| line.ends_with(&text)), "{text}");
    }
    worker.kill().await;
}

#[tokio::test]
async fn who_does_not_wait_is_told_of_rows_that_cannot_be_read() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let folder = Folder::new(&world);
    let file = folder.write(
        "contacts.csv",
        "email,Note\na@example.com\nb@example.com,x\n",
    );
    let output = sent(&world, &[&file, "--db", "1", "--no-wait"]).await;
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stdout.is_empty());
    let said = err(&output);
    assert!(said.contains("line 2: has 1 of the 2 cells"), "{said}");
    assert!(said.contains("1 request published"), "{said}");
    let client = world.client().await;
    assert_eq!(client.take(&world.result_queue()).await.error(), 0);
}

#[tokio::test]
async fn what_a_file_lacks_is_told_before_anything_is_sent() {
    let world = World::new().await;
    let folder = Folder::new(&world);
    let file = folder.write("contacts.csv", "Email,Name\na@example.com,Jo\n");
    let headless = folder.write("headless.csv", "a@example.com,Jo\n");
    let workbook = folder.write("contacts.xlsx", "PK\x03\x04...");
    let report = folder.write("report.csv", "mine");
    for (arguments, code, words) in [
        (&[file.as_str()][..], 64, "--db: is missing"),
        (
            &[&file, "--db", "1", "--map", "Mail=email"],
            64,
            "the columns are \"Email\", \"Name\"",
        ),
        (
            &[
                &file,
                "--db",
                "1",
                "--map",
                "Name=email",
                "--map",
                "Email=email",
            ],
            64,
            "has one value",
        ),
        (&[&headless, "--db", "1"], 1, "has no header: cell 1"),
        (&[&workbook, "--db", "1"], 1, "save it as CSV"),
        (&[&file, "--db", "1", "--report", &file], 64, "another file"),
        (
            &[&file, "--db", "1", "--report", &report],
            64,
            "is there already",
        ),
        (
            &[&file, "--db", "1", "--report", &report, "--resume"],
            64,
            "not the report of this file",
        ),
        (
            &[&file, "--db", "1", "--token-file", "/nowhere"],
            64,
            "can't read /nowhere",
        ),
        (
            &[&file, "--db", "1", "--format", "request"],
            64,
            "--db: is for profiles",
        ),
    ] {
        let output = sent(&world, arguments).await;
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {}",
            err(&output)
        );
        assert!(
            err(&output).contains(words),
            "{arguments:?}: {}",
            err(&output)
        );
    }
    assert_eq!(folder.read("report.csv"), "mine");
    let mut without_token = send(&world, &[&file, "--db", "1"]);
    let output = without_token
        .env_remove("API_TOKEN")
        .output()
        .await
        .expect("its end");
    assert_eq!(output.status.code(), Some(64));
    assert!(err(&output).contains("no API token"), "{}", err(&output));
}

#[tokio::test]
async fn the_token_goes_beside_the_request_and_can_be_in_a_file() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let folder = Folder::new(&world);
    let token = folder.write("token", format!("{}\n", world.token));
    let request = folder.write("request.json", r#"{"db_id":1,"data":{}}"#);
    let arguments = [
        request.as_str(),
        "--message-id",
        "one",
        "--token-file",
        &token,
    ];
    let output = sent(&world, &arguments).await;
    assert!(output.status.success(), "{}", err(&output));
    // The same request with another token is the same request.
    let (_, other) = world
        .new_token(&profile_worker::domain::token::Scope::AllDatabases)
        .await;
    folder.write("token", other);
    let again = sent(&world, &arguments).await;
    assert_eq!(out(&again), out(&output));
    folder.write("token", "two words");
    let output = sent(&world, &arguments).await;
    assert_eq!(output.status.code(), Some(64));
    assert!(!err(&output).contains("two words"), "{}", err(&output));
}

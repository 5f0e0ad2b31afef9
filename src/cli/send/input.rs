//! The requests, from a file or standard input.

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};

use crate::broker::requester::RequestMessage;
use crate::cli::output::Failure;

/// Requests published at a time.
pub(super) const CHUNK: usize = 200;

/// Where the requests come from, and what they have besides their bodies.
pub(super) struct Requests {
    /// What is read.
    pub(super) input: Box<dyn AsyncBufRead + Unpin>,
    /// Its name.
    pub(super) file: String,
    /// Whether each line is a request of its own.
    pub(super) lines: bool,
    /// The idempotency key; with lines each of them gets it with its number.
    pub(super) message_id: String,
    /// The content type, if one is to be declared.
    pub(super) content_type: Option<String>,
    /// Whether everything is read.
    pub(super) ended: bool,
}

/// Opens a file, or standard input for "-".
pub(super) async fn open(file: &str) -> Result<Box<dyn AsyncBufRead + Unpin>, Failure> {
    if file == "-" {
        return Ok(Box::new(BufReader::new(tokio::io::stdin())));
    }
    let opened = tokio::fs::File::open(file).await;
    let opened =
        opened.map_err(|error| Failure::new(format_args!("can't open {file}: {error}")))?;
    Ok(Box::new(BufReader::new(opened)))
}

impl Requests {
    /// Reads the next requests, numbered from `number` on; none at the end.
    pub(super) async fn next_chunk(&mut self, number: u64) -> Result<Vec<RequestMessage>, Failure> {
        let mut chunk = Vec::new();
        while chunk.len() < CHUNK {
            let Some(body) = self.next_body().await? else {
                break;
            };
            let number = number + chunk.len() as u64;
            chunk.push(RequestMessage {
                body,
                message_id: if self.lines {
                    format!("{}-{}", self.message_id, number + 1)
                } else {
                    self.message_id.clone()
                },
                correlation_id: number.to_string(),
                content_type: self.content_type.clone(),
            });
        }
        Ok(chunk)
    }

    async fn next_body(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let problem = |error| Failure::new(format_args!("can't read {}: {error}", self.file));
        while !self.ended {
            let mut body = Vec::new();
            if self.lines {
                self.ended = self
                    .input
                    .read_until(b'\n', &mut body)
                    .await
                    .map_err(problem)?
                    == 0;
                body.truncate(body.trim_ascii_end().len());
                if body.is_empty() {
                    continue;
                }
            } else {
                self.input.read_to_end(&mut body).await.map_err(problem)?;
                self.ended = true;
            }
            return Ok(Some(body));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(text: &'static str, lines: bool) -> Requests {
        Requests {
            input: Box::new(text.as_bytes()),
            file: "a file".to_owned(),
            lines,
            message_id: "key".to_owned(),
            content_type: Some("application/json".to_owned()),
            ended: false,
        }
    }

    /// Body, message id and correlation id of each request.
    fn told(chunk: Vec<RequestMessage>) -> Vec<(String, String, String)> {
        chunk
            .into_iter()
            .map(|message| {
                let body = String::from_utf8(message.body).unwrap();
                (body, message.message_id, message.correlation_id)
            })
            .collect()
    }

    fn row(body: &str, message_id: &str, correlation_id: &str) -> (String, String, String) {
        (
            body.to_owned(),
            message_id.to_owned(),
            correlation_id.to_owned(),
        )
    }

    #[tokio::test]
    async fn each_line_is_a_request_with_a_key_of_its_own() {
        let mut requests = requests("{\"a\":1} \r\n\n  \n{\"a\":2}", true);
        assert_eq!(
            told(requests.next_chunk(10).await.unwrap()),
            [
                row("{\"a\":1}", "key-11", "10"),
                row("{\"a\":2}", "key-12", "11"),
            ]
        );
        assert!(requests.next_chunk(12).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_whole_file_is_one_request_as_it_is() {
        let mut requests = requests("<xml>\n</xml>\n", false);
        let chunk = requests.next_chunk(0).await.unwrap();
        assert_eq!(chunk[0].content_type.as_deref(), Some("application/json"));
        assert_eq!(told(chunk), [row("<xml>\n</xml>\n", "key", "0")]);
        assert!(requests.next_chunk(1).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn an_empty_file_is_a_request_and_without_lines_there_is_none() {
        assert_eq!(requests("", false).next_chunk(0).await.unwrap().len(), 1);
        assert!(requests("", true).next_chunk(0).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn no_more_than_a_chunk_is_read_at_a_time() {
        let text: &'static str = "x\n".repeat(CHUNK + 1).leak();
        let mut requests = requests(text, true);
        assert_eq!(requests.next_chunk(0).await.unwrap().len(), CHUNK);
        let rest = requests.next_chunk(CHUNK as u64).await.unwrap();
        assert_eq!(told(rest), [row("x", "key-201", "200")]);
    }
}

//! The HTTP client that spans are sent by. It keeps the reason of a failure, which the exporter
//! does not tell: whoever is to mend it should read "connection refused" or "unknown issuer".

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use hyper::HeaderMap;
use hyper_rustls::HttpsConnectorBuilder;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};

use crate::sync::lock;

/// Why the last attempt failed, if it did.
#[derive(Debug, Clone, Default)]
pub(super) struct Reason(Arc<Mutex<Option<String>>>);

impl Reason {
    fn set(&self, reason: Option<String>) {
        *lock(&self.0) = reason;
    }

    pub(super) fn take(&self) -> Option<String> {
        lock(&self.0).take()
    }
}

/// A client of one collector.
#[derive(Debug)]
pub(super) struct Client {
    inner: Box<dyn HttpClient>,
    /// Sent with each request. Not by the library's own way, which lets variables of the
    /// environment win.
    headers: HeaderMap,
    reason: Reason,
}

impl Client {
    /// `with_tls`: the certificate must be one that this machine trusts.
    pub(super) fn new(
        with_tls: bool,
        headers: HeaderMap,
        answer_max: Duration,
        reason: Reason,
    ) -> Result<Self, String> {
        let inner: Box<dyn HttpClient> = if with_tls {
            let provider = rustls::crypto::ring::default_provider();
            let connector = HttpsConnectorBuilder::new()
                .with_provider_and_native_roots(provider)
                .map_err(|error| format!("can't read the machine's trusted roots: {error}"))?;
            Box::new(HyperClient::new(
                connector.https_only().enable_http1().build(),
                answer_max,
                None,
            ))
        } else {
            Box::new(HyperClient::with_default_connector(answer_max, None))
        };
        Ok(Self {
            inner,
            headers,
            reason,
        })
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        request.headers_mut().extend(self.headers.clone());
        let answer = self.inner.send_bytes(request).await;
        self.reason
            .set(answer.as_ref().err().map(|error| chain(&**error)));
        answer
    }
}

/// An error with all that is behind it.
fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| {
        (*error).source()
    });
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

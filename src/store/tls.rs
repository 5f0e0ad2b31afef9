//! TLS to PostgreSQL, with libpq's meaning of `sslmode`: up to `require` the line is encrypted and
//! the server believed, from `verify-ca` on its certificate is checked, its name included.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;
use url::form_urlencoded;

pub(super) type Connector = MakeRustlsConnect;

/// Which certificates of servers are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trust {
    /// Any: the line is encrypted, if it is, against listeners only.
    Anyone,
    /// One with a certificate for its name from a known authority: the machine's own, or those of
    /// a file.
    Verified(Option<PathBuf>),
}

impl Trust {
    /// Takes out of a URL's query what the client library does not know; the second result is the
    /// query to pass on to it.
    pub(super) fn take_from(query: &str) -> Result<(Self, String), String> {
        let mut roots = None;
        let mut mode = None;
        let mut rest = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "sslmode" => mode = Some(value.into_owned()),
                "sslrootcert" => roots = Some(PathBuf::from(value.into_owned())),
                _ => {
                    rest.append_pair(&name, &value);
                }
            }
        }
        let (trust, library_mode) = match mode.as_deref() {
            None | Some("prefer" | "allow") => (Self::Anyone, "prefer"),
            Some("disable") => (Self::Anyone, "disable"),
            // libpq: with a root certificate at hand, `require` checks as `verify-ca` does.
            Some("require") if roots.is_none() => (Self::Anyone, "require"),
            Some("require" | "verify-ca" | "verify-full") => (Self::Verified(roots), "require"),
            Some(_) => {
                return Err(
                    "sslmode must be disable, prefer, require, verify-ca or verify-full".to_owned(),
                );
            }
        };
        Ok((trust, rest.append_pair("sslmode", library_mode).finish()))
    }

    pub(super) fn connector(&self) -> Result<Connector, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous();
        let verifier: Arc<dyn ServerCertVerifier> = match self {
            Trust::Anyone => Arc::new(BelieveAnyone(provider)),
            Trust::Verified(file) => {
                let roots = Arc::new(roots(file.as_ref())?);
                WebPkiServerVerifier::builder_with_provider(roots, provider)
                    .build()
                    .map_err(|error| format!("no usable root certificates: {error}"))?
            }
        };
        let config = builder
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        Ok(MakeRustlsConnect::new(config))
    }
}

fn roots(file: Option<&PathBuf>) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    match file {
        Some(path) => {
            let problem = |error| format!("can't read sslrootcert {}: {error}", path.display());
            for certificate in CertificateDer::pem_file_iter(path).map_err(problem)? {
                let certificate = certificate.map_err(problem)?;
                store
                    .add(certificate)
                    .map_err(|error| format!("sslrootcert: {error}"))?;
            }
        }
        None => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(store)
}

/// What `sslmode=prefer` and `require` ask for: the signatures are checked, the identity is not.
#[derive(Debug)]
struct BelieveAnyone(Arc<CryptoProvider>);

impl ServerCertVerifier for BelieveAnyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sslmode_means_what_libpq_means() {
        let verified = |file: Option<&str>| Trust::Verified(file.map(PathBuf::from));
        for (query, trust, passed_on) in [
            ("", Trust::Anyone, "sslmode=prefer"),
            (
                "sslmode=disable&connect_timeout=3",
                Trust::Anyone,
                "connect_timeout=3&sslmode=disable",
            ),
            ("sslmode=require", Trust::Anyone, "sslmode=require"),
            (
                "sslmode=require&sslrootcert=/ca.pem",
                verified(Some("/ca.pem")),
                "sslmode=require",
            ),
            ("sslmode=verify-full", verified(None), "sslmode=require"),
        ] {
            assert_eq!(
                Trust::take_from(query).unwrap(),
                (trust, passed_on.to_owned()),
                "{query}"
            );
        }
        assert!(Trust::take_from("sslmode=maybe").is_err());
    }
}

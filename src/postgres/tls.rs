//! What `sslmode` promises, on top of rustls.
//!
//! The driver knows only whether to encrypt. Whom to trust is decided by the verifier here:
//!
//! | `sslmode` | encrypted | the server's certificate |
//! |---|---|---|
//! | `disable` | no | |
//! | `prefer` | where the server can | not looked at |
//! | `require` | yes | not looked at, unless `sslrootcert` is given: then as `verify-ca` |
//! | `verify-ca` | yes | signed by a root of `sslrootcert`, or of the operating system |
//! | `verify-full` | yes | as `verify-ca`, and made out to the host's name |
//!
//! Certificates are X.509 version 3 and name their hosts as `subjectAltName`; a bare common name is not enough.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{
        CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName, UnixTime, pem,
        pem::PemObject,
    },
    server::ParsedCertificate,
};
use tokio_postgres::{Socket, tls::MakeTlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The value of `sslrootcert` that stands for the operating system's trust store.
const SYSTEM_ROOTS: &str = "system";

/// How much a link is to be trusted: `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsMode {
    /// In the clear.
    Disable,
    /// Encrypted where the server can.
    Prefer,
    /// Encrypted, whoever answers.
    Require,
    /// Encrypted, with a certificate that a trusted root has signed.
    VerifyCa,
    /// The same, and the certificate names the host.
    VerifyFull,
}

/// What a connection string says about TLS.
pub(super) struct TlsSettings {
    /// `sslmode`.
    pub(super) mode: TlsMode,
    /// `sslnegotiation=direct`: TLS from the first byte, as PostgreSQL 17 can.
    pub(super) direct: bool,
    /// `sslrootcert`: a PEM file, or `system`.
    pub(super) root_certificates: Option<PathBuf>,
    /// `sslcert`: a PEM file with the client's certificate.
    pub(super) client_certificate: Option<PathBuf>,
    /// `sslkey`: a PEM file with the client's key, without a passphrase.
    pub(super) client_key: Option<PathBuf>,
}

/// Why the certificates that a connection string names cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read, or is not what it should be.
    #[error("{setting} must be {expected}; {} is not", path.display())]
    File {
        /// The setting that names it.
        setting: &'static str,
        /// What it should be.
        expected: &'static str,
        /// Where it is.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: pem::Error,
    },
    /// There is nothing to check a certificate against.
    #[error("sslrootcert must name a file with at least one usable root certificate")]
    NoRoots,
    /// A certificate without its key, or the other way round.
    #[error("sslcert and sslkey must be given together")]
    HalfIdentity,
    /// The certificate and the key are not of one pair, or are of a kind that rustls does not know.
    #[error("sslcert and sslkey must be a certificate and its key")]
    Identity(#[source] rustls::Error),
    /// rustls refuses its own defaults.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

impl TlsSettings {
    /// Reads the certificates and makes what opens TLS sessions.
    pub(super) fn connector(&self) -> Result<TlsConnector, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier {
            trust: self.trust()?,
            algorithms: provider.signature_verification_algorithms,
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match self.identity()? {
            Some((chain, key)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(TlsError::Identity)?,
            None => builder.with_no_client_auth(),
        };
        if self.direct {
            config.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        Ok(TlsConnector(MakeRustlsConnect::new(config)))
    }

    fn trust(&self) -> Result<Trust, TlsError> {
        let check_name = match (self.mode, &self.root_certificates) {
            (TlsMode::VerifyFull, _) => true,
            (TlsMode::VerifyCa, _) | (TlsMode::Require, Some(_)) => false,
            (TlsMode::Disable | TlsMode::Prefer | TlsMode::Require, _) => return Ok(Trust::Anyone),
        };
        let certificates = match &self.root_certificates {
            Some(path) if path.as_os_str() != SYSTEM_ROOTS => {
                read_certificates("sslrootcert", path)?
            }
            _ => rustls_native_certs::load_native_certs().certs,
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates.iter().cloned());
        if roots.is_empty() {
            return Err(TlsError::NoRoots);
        }
        Ok(Trust::Signed {
            roots,
            certificates,
            check_name,
        })
    }

    fn identity(
        &self,
    ) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, TlsError> {
        match (&self.client_certificate, &self.client_key) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => {
                let chain = read_certificates("sslcert", certificate)?;
                let key = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::File {
                    setting: "sslkey",
                    expected: "a PEM file with a private key",
                    path: key.clone(),
                    source,
                })?;
                Ok(Some((chain, key)))
            }
            _ => Err(TlsError::HalfIdentity),
        }
    }
}

fn read_certificates(
    setting: &'static str,
    path: &PathBuf,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .and_then(|list| {
            if list.is_empty() {
                Err(pem::Error::NoItemsFound)
            } else {
                Ok(list)
            }
        })
        .map_err(|source| TlsError::File {
            setting,
            expected: "a PEM file with certificates",
            path: path.clone(),
            source,
        })
}

/// Opens TLS sessions for the driver, which decides by `sslmode` whether to ask for one at all.
#[derive(Clone)]
pub struct TlsConnector(MakeRustlsConnect);

impl MakeTlsConnect<Socket> for TlsConnector {
    type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;
    type TlsConnect = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;
    type Error = InvalidDnsNameError;

    /// The driver asks even where it will not use TLS, with an empty name for a Unix socket.
    fn make_tls_connect(&mut self, host: &str) -> Result<Self::TlsConnect, Self::Error> {
        let name = if host.is_empty() { "localhost" } else { host };
        MakeTlsConnect::<Socket>::make_tls_connect(&mut self.0, name)
    }
}

/// Whose certificates to accept.
#[derive(Debug)]
enum Trust {
    /// Everybody's.
    Anyone,
    /// Those that a root has signed.
    Signed {
        /// The roots to build a chain to.
        roots: RootCertStore,
        /// The same as they were read: a server may present one of them itself, as a self-signed certificate does.
        certificates: Vec<CertificateDer<'static>>,
        /// Whether the certificate must name the host, too.
        check_name: bool,
    },
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Trust::Signed {
            roots,
            certificates,
            check_name,
        } = &self.trust
        {
            let parsed = ParsedCertificate::try_from(certificate)?;
            if !certificates.contains(certificate) {
                let algorithms = self.algorithms.all;
                verify_server_cert_signed_by_trust_anchor(
                    &parsed,
                    roots,
                    intermediates,
                    now,
                    algorithms,
                )?;
            }
            if *check_name {
                verify_server_name(&parsed, host)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

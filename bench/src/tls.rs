//! HTTPS in front of an endpoint, as AWS has it.

use std::{
    fmt::Display,
    io::Write as _,
    net::TcpListener,
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tempfile::NamedTempFile;
use tokio::{
    io::copy_bidirectional,
    net::TcpStream,
    runtime::{self, Handle},
    sync::oneshot,
    task::AbortHandle,
};
use tokio_rustls::TlsAcceptor;

use crate::error::Error;

/// A certificate authority of its own, with endpoints that it vouches for. It has a thread of its own.
#[derive(Debug)]
pub(crate) struct Tls {
    bundle: NamedTempFile,
    config: Arc<ServerConfig>,
    handle: Handle,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// An endpoint that ends when this value is dropped.
#[derive(Debug)]
pub(crate) struct Encrypted {
    /// Such as `https://127.0.0.1:40001`.
    pub(crate) endpoint: String,
    server: AbortHandle,
}

/// What a function trusts in Lambda.
const AMAZON_ROOTS: &[u8] = include_bytes!("../../shared/engine/src/amazon-roots.pem");

impl Tls {
    pub(crate) fn start() -> Result<Self, Error> {
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::new(Vec::<String>::new()).map_err(failed)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).map_err(failed)?;
        let issuer = Issuer::new(params, key);

        let own_key = KeyPair::generate().map_err(failed)?;
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let own = CertificateParams::new(names)
            .and_then(|params| params.signed_by(&own_key, &issuer))
            .map_err(failed)?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|config| {
                config.with_no_client_auth().with_single_cert(vec![own.der().clone()], private)
            })
            .map_err(failed)?;

        let mut bundle = NamedTempFile::new().map_err(failed)?;
        bundle
            .write_all(AMAZON_ROOTS)
            .and_then(|()| bundle.write_all(authority.pem().as_bytes()))
            .map_err(failed)?;

        let runtime =
            runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("tls".to_owned())
            .spawn(move || {
                let _ = runtime.block_on(ended);
            })
            .map_err(failed)?;
        Ok(Self { bundle, config: Arc::new(config), handle, end: Some(end), thread: Some(thread) })
    }

    /// What a function trusts in Lambda, and this authority.
    pub(crate) fn bundle(&self) -> &Path {
        self.bundle.path()
    }

    /// The same endpoint (`http://HOST:PORT`), encrypted.
    pub(crate) fn before(&self, endpoint: &str) -> Result<Encrypted, Error> {
        let behind = endpoint.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let acceptor = TlsAcceptor::from(Arc::clone(&self.config));
        let server = self.handle.spawn(async move {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, behind) = (acceptor.clone(), behind.clone());
                tokio::spawn(async move {
                    let _ = stream.set_nodelay(true);
                    let accepted = acceptor.accept(stream).await;
                    let plain = TcpStream::connect(&behind).await;
                    if let (Ok(mut encrypted), Ok(mut plain)) = (accepted, plain) {
                        let _ = plain.set_nodelay(true);
                        let _ = copy_bidirectional(&mut encrypted, &mut plain).await;
                    }
                });
            }
        });
        Ok(Encrypted { endpoint: format!("https://{address}"), server: server.abort_handle() })
    }
}

fn failed(error: impl Display) -> Error {
    Error::Tls(error.to_string())
}

impl Drop for Tls {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Encrypted {
    fn drop(&mut self) {
        self.server.abort();
    }
}

//! Asks a Unix socket one question and takes the whole answer, within a bound.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// The largest answer that is taken.
const ANSWER_BYTES_MAX: u64 = 256 * 1_024;

/// What was answered until the other side closed; `None`: it does not answer in time.
pub(super) async fn socket(path: &Path, question: &str, patience: Duration) -> Option<String> {
    let exchange = async {
        let mut stream = UnixStream::connect(path).await?;
        stream.write_all(question.as_bytes()).await?;
        let mut answer = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    tokio::time::timeout(patience, exchange).await.ok()?.ok()
}

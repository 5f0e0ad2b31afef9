//! What the commands share that send requests.

use super::output::Failure;
use crate::broker::error::BrokerError;
use crate::domain::hex::Hex;

/// Says why a request could not be published, in words for people.
pub(super) fn explain(error: BrokerError) -> Failure {
    match error {
        BrokerError::Unroutable(queue) => Failure::new(format_args!(
            "there is no queue {queue}, or it is full: start a worker first, or check REQUEST_QUEUE"
        )),
        other => Failure::new(other),
    }
}

/// Makes an idempotency key.
pub(super) fn random_id() -> Result<String, Failure> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(Failure::new)?;
    Ok(Hex::<32>::of(&random).as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_made_twice() {
        let (one, other) = (random_id().unwrap(), random_id().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), 32);
        assert!(one.bytes().all(|byte| byte.is_ascii_hexdigit()), "{one}");
    }
}

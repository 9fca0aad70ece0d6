//! Secrets that nobody can guess.

use rustls::crypto::SecureRandom;

use super::error::ServiceError;

/// 256 bits from the system.
///
/// # Errors
/// `Unavailable` when it gives none.
pub(super) fn bits() -> Result<[u8; 32], ServiceError> {
    let mut bytes = [0; 32];
    let random: &dyn SecureRandom = rustls::crypto::aws_lc_rs::default_provider().secure_random;
    match random.fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_) => Err(ServiceError::Unavailable("The system gives no random numbers for a secret".to_owned())),
    }
}

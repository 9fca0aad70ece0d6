//! The signature of webhooks by the Standard Webhooks scheme.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::config::Secret;

/// Lengths of a key, in bytes, that the scheme allows. Only used to tell an encoded key from a password.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The key with which a webhook is signed.
pub(super) struct SigningKey(Vec<u8>);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl SigningKey {
    /// Reads a secret: `whsec_` and the key in base64; the same without the prefix; or any other text, whose bytes
    /// are the key.
    ///
    /// # Errors
    /// What follows `whsec_` is not base64, or nothing.
    pub(super) fn read(secret: &Secret) -> Result<Self, String> {
        let text = secret.expose().trim();
        if let Some(encoded) = text.strip_prefix("whsec_") {
            let key = STANDARD.decode(encoded).ok().filter(|key| !key.is_empty());
            return key.map(Self).ok_or_else(|| "what follows `whsec_` must be a key in base64".to_owned());
        }
        if text.is_empty() {
            return Err("it is empty".to_owned());
        }
        let decoded = STANDARD.decode(text).ok().filter(|key| KEY_BYTES.contains(&key.len()));
        Ok(Self(decoded.unwrap_or_else(|| text.as_bytes().to_vec())))
    }

    /// The value of `webhook-signature`; `at` is the value of `webhook-timestamp` in seconds since the epoch.
    pub(super) fn sign(&self, id: &str, at: i64, body: &[u8]) -> String {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length");
        mac.update(format!("{id}.{at}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> SigningKey {
        SigningKey::read(&Secret::new(text)).unwrap()
    }

    #[test]
    fn signs_as_the_example_of_the_specification() {
        // The test vector of the Standard Webhooks reference libraries.
        let secret = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let body = br#"{"test": 2432232314}"#;
        let signed = key(&format!("whsec_{secret}")).sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(key(secret).sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body), signed);
    }

    #[test]
    fn passwords_are_taken_as_they_are() {
        assert_eq!(key("supersecret1").0, b"supersecret1");
        assert!(SigningKey::read(&Secret::new("whsec_no base64")).is_err());
        assert!(SigningKey::read(&Secret::new("")).is_err());
        assert_eq!(format!("{:?}", key("supersecret1")), "***");
    }
}

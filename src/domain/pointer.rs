//! Pointers into JSON documents (RFC 6901).

/// A name as a step of a pointer: `A/B` is `A~1B`.
pub fn step(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::step;

    #[test]
    fn what_separates_steps_is_written_otherwise() {
        assert_eq!(step("a/b~c~1"), "a~1b~0c~01");
        let document = serde_json::json!({"a/b~c~1": 7});
        assert_eq!(document.pointer(&format!("/{}", step("a/b~c~1"))), Some(&serde_json::json!(7)));
    }
}

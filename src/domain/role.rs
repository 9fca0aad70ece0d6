//! What somebody may do. Each role may do what those before it may.

use crate::domain::outcome::words;

words! {
    /// What somebody may do: each role may do what those before it may.
    pub enum Role {
        /// Read what is watched and what was seen.
        Viewer = "viewer",
        /// Check now, pause, resume, send again, try a channel.
        Operator = "operator",
        /// Make, change and remove what is watched.
        Editor = "editor",
        /// Configuration, keys, backups, audit log.
        Admin = "admin",
    }
}

#[cfg(test)]
mod tests {
    use super::Role;

    #[test]
    fn each_role_may_do_what_those_before_it_may() {
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Editor && Role::Editor < Role::Admin);
        assert_eq!(Role::ALL.len(), 4);
        assert_eq!("editor".parse(), Ok(Role::Editor));
        assert!("Editor".parse::<Role>().is_err());
    }
}

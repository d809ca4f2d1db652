//! The owned names, as texts mention them.

use std::{
    collections::{HashMap, HashSet},
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use crate::protocol::{OwnerNumber, mention, name::Name};

/// The most owners that one message mentions.
const MAX_MENTIONED: usize = 20;

/// The owners of all owned names, by the lower case of the claimed spelling.
#[derive(Debug)]
pub(super) struct Mentionable(RwLock<HashMap<Box<str>, OwnerNumber>>);

impl Mentionable {
    pub(super) fn new(names: Vec<(Name, OwnerNumber)>) -> Self {
        let lower = |(name, owner)| (lower(&name), owner);
        Mentionable(RwLock::new(names.into_iter().map(lower).collect()))
    }

    /// Adds a name that is owned from now on.
    pub(super) fn add(&self, name: &Name, owner: OwnerNumber) {
        self.write().insert(lower(name), owner);
    }

    /// Removes the names of owners whose ownership has ended.
    pub(super) fn remove(&self, ended: &HashSet<OwnerNumber>) {
        self.write().retain(|_, owner| !ended.contains(owner));
    }

    /// The owners that a text mentions, each once; at most 20.
    pub(super) fn mentioned(&self, text: &str) -> Vec<OwnerNumber> {
        if self.read().is_empty() {
            return Vec::new();
        }
        let words = mention::candidates(text);
        let names = self.read();
        let mut mentioned = Vec::new();
        for owner in words.iter().filter_map(|word| names.get(word.as_str())) {
            if !mentioned.contains(owner) && mentioned.len() < MAX_MENTIONED {
                mentioned.push(*owner);
            }
        }
        mentioned
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<Box<str>, OwnerNumber>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Box<str>, OwnerNumber>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lower(name: &Name) -> Box<str> {
    name.as_str().to_lowercase().into()
}

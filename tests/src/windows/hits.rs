//! What was found of passwords, and where.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use super::log::{self, FILES};
use super::memory;
use super::room::Room;
use super::seen::Window;
use super::setup::SHOWS;
use super::stage::Canary;
use crate::cluster::major;
use crate::hunt::Hunt;

/// Texts in which a way's passwords were seen in a window, each with the file where there is one.
pub type Hits = BTreeMap<(String, Window), Vec<String>>;

/// All that was seen, and what is left: the log, the memory, the files. The server is stopped.
pub fn find(room: &Room, canaries: &[Canary]) -> Hits {
    let mut hunt = Hunt::default();
    canaries.iter().for_each(|it| it.hunt(&mut hunt));
    hunt.add(SHOWS, SHOWS.as_bytes());
    room.admin(|admin| admin.query("SELECT * FROM public.answers", &[]).unwrap());
    let mut search = Search {
        hunt: &hunt,
        canaries,
        known: HashMap::new(),
        hits: Hits::new(),
        memory_is_read: false,
    };
    for (window, text) in room.seen.all() {
        search.look(window, "", &text);
    }
    search.look_in_memory(room);
    room.site.cluster.down();
    for field in log::read(&room.log_folder()) {
        search.look(field.window, field.file, &field.text);
    }
    search.look_in_log(&room.log_folder());
    search.look_in_files(&room.site.cluster.data(), &room.log_folder());
    search.assert_read();
    search.hits
}

struct Search<'a> {
    hunt: &'a Hunt,
    canaries: &'a [Canary],
    /// The same text is in every format of the log, and often in more than one message.
    known: HashMap<String, Vec<String>>,
    hits: Hits,
    memory_is_read: bool,
}

impl Search<'_> {
    fn look(&mut self, window: Window, file: &str, text: &str) {
        let hunt = self.hunt;
        let ways = self
            .known
            .entry(text.to_owned())
            .or_insert_with(|| hunt.look(text.as_bytes()).into_iter().map(str::to_owned).collect())
            .clone();
        for way in ways {
            let told = format!("{file}: {}", self.excerpt(&way, text));
            self.put(way, window, told);
        }
    }

    fn put(&mut self, way: String, window: Window, told: String) {
        let hits = self.hits.entry((way, window)).or_default();
        if !hits.contains(&told) {
            hits.push(told);
        }
    }

    /// The text, or what is around the password in it.
    fn excerpt(&self, way: &str, text: &str) -> String {
        let of_way = self.canaries.iter().filter(|it| it.way == way);
        let at = of_way.filter_map(|it| text.find(&it.text)).min().unwrap_or_default();
        let (start, end) = (at.saturating_sub(300), at + 200);
        let near = text.char_indices().filter(|(i, _)| (start..end).contains(i));
        near.map(|it| it.1).collect()
    }

    /// What is everywhere was found everywhere.
    fn assert_read(&mut self) {
        let mut found = String::new();
        let views = (SHOWS.to_owned(), Window::Views);
        assert!(self.hits.contains_key(&views), "the views are not read");
        self.hits.retain(|(way, _), texts| {
            if way == SHOWS {
                found += &texts.join("\n");
            }
            way != SHOWS
        });
        let formats = if major() == 14 { 2 } else { 3 };
        let places = ["stderr: ", "csvlog: ", "jsonlog: "];
        for place in places.iter().take(formats).chain(&["/base/", "/pg_wal/"]) {
            assert!(found.contains(place), "{place} is not read:\n{found}");
        }
        let memory = "in the memory of";
        assert_eq!(self.memory_is_read, found.contains(memory), "the memory is not read");
    }

    /// The memory of the postmaster and of a session that has done nothing, with all that they share.
    fn look_in_memory(&mut self, room: &Room) {
        let other = room.session("postgres");
        let postmaster = room.site.cluster.postmaster().cast_signed();
        for (who, pid) in [("postmaster", postmaster), ("another session", other.pid)] {
            let found = memory::look(self.hunt, pid);
            let Some(found) = found else {
                println!("nobody may look into the memory of a process here");
                continue;
            };
            self.memory_is_read = true;
            for way in found {
                self.put(way, Window::Memory, format!("in the memory of {who}"));
            }
        }
    }

    /// Whoever takes the log apart may lose a piece of it.
    fn look_in_log(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let file = FILES.iter().find(|it| path.ends_with(it.0)).map(|it| it.1);
            let known = |hits: &Hits, way: &str| {
                hits.iter().any(|((it, _), told)| {
                    it == way && told.iter().any(|it| file.is_some_and(|file| it.starts_with(file)))
                })
            };
            for way in self.hunt.look(&fs::read(&path).unwrap()) {
                if !known(&self.hits, way) {
                    self.put(way.to_owned(), Window::Log, path.display().to_string());
                }
            }
        }
    }

    fn look_in_files(&mut self, folder: &Path, log: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path == log {
                continue;
            }
            if path.is_dir() {
                self.look_in_files(&path, log);
            } else if path.is_file() {
                let found = self.hunt.look(&fs::read(&path).unwrap());
                for way in found {
                    self.put(way.to_owned(), Window::Files, path.display().to_string());
                }
            }
        }
    }
}

/// Hits as lines to read.
pub fn lines(hits: &Hits) -> String {
    let mut lines = String::new();
    for ((way, window), texts) in hits {
        lines += &format!("{way} | {window:?} | {} times\n", texts.len());
        for text in texts.iter().take(2) {
            lines += &format!("    {}\n", text.replace('\n', "\n    "));
        }
    }
    lines
}

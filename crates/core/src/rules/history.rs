//! The former passwords of a user, so that none is used again. They are stored as the texts of
//! their records, one per line, newest first.

use crate::rules::secret::Secret;

/// The most bytes that a history may take, because a row has to fit into one page. That is enough
/// for 24 records of 64 MiB, t = 3, p = 4; imported records can be longer, and then fewer fit.
pub const MAX_BYTES: usize = 3000;

/// Writes the text that is stored; `None` if there are no records. The oldest are left out if they
/// do not fit into [`MAX_BYTES`].
pub fn write(records: &[Secret]) -> Option<Secret> {
    let mut text = String::with_capacity(MAX_BYTES);
    for record in records {
        if text.len() + record.expose().len() + 1 > MAX_BYTES {
            break;
        }
        text.push_str(record.expose());
        text.push('\n');
    }
    (!text.is_empty()).then(|| Secret::new(text))
}

/// Reads what [`write()`] wrote.
pub fn read(text: &Secret) -> Vec<Secret> {
    text.expose().lines().map(|line| Secret::new(line.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(texts: &[&str]) -> Vec<Secret> {
        texts.iter().map(|text| Secret::new((*text).to_owned())).collect()
    }

    #[test]
    fn what_is_written_reads_back_in_order() {
        let text = write(&secrets(&["$a$1", "$b$2"])).unwrap();
        let read: Vec<_> = read(&text).iter().map(|it| it.expose().to_owned()).collect();
        assert_eq!(read, ["$a$1", "$b$2"]);
        assert!(write(&[]).is_none());
    }

    #[test]
    fn the_oldest_fall_out_where_there_is_no_room() {
        let long = "x".repeat(600);
        let text = write(&secrets(&[long.as_str(); 24])).unwrap();
        assert!(text.expose().len() <= MAX_BYTES);
        assert_eq!(read(&text).len(), 4);
        // The length of a record of 64 MiB, t = 3, p = 4 with the current salt and tag lengths.
        let ours = "x".repeat(98);
        assert_eq!(read(&write(&secrets(&[ours.as_str(); 24])).unwrap()).len(), 24);
    }
}

//! A large file: one that is there, or one that is made for the exam.

use crate::options::Args;
use std::fs;
use std::path::PathBuf;

/// Its size, if it is made: more than a server sends at once.
const BYTES: usize = 4 << 20;

/// A large file that the server has. A file that was made is removed on drop.
pub struct Large {
    pub name: String,
    /// Its content, if it is known here.
    pub content: Option<Vec<u8>>,
    made: Option<PathBuf>,
}

impl Large {
    /// # Errors
    ///
    /// If the folder is given and is none that files can be put into.
    pub fn find(args: &Args) -> Result<Option<Self>, String> {
        if let Some(name) = &args.file {
            let content = args.root.as_ref().and_then(|root| fs::read(root.join(name)).ok());
            return Ok(Some(Self { name: name.clone(), content, made: None }));
        }
        let Some(root) = &args.root else { return Ok(None) };
        let name = format!("grade-{}-large", std::process::id());
        let path = root.join(&name);
        let mut content = vec![0; BYTES];
        fastrand::Rng::with_seed(1).fill(&mut content);
        fs::write(&path, &content).map_err(|error| {
            format!("cannot write {}: {error} (name a folder with --root)", path.display())
        })?;
        Ok(Some(Self { name, content: Some(content), made: Some(path) }))
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        if let Some(path) = self.made.take() {
            // If somebody has removed it, there is nothing to do.
            let _ = fs::remove_file(path);
        }
    }
}

//! Limits on what is made of directories beside their listings.

/// The bytes of a README that a listing shows. Longer texts are for a page of their own.
pub const README_BYTES: usize = 64 * 1024;

/// The most bytes of HTML for them. Markdown that needs more is shown as plain text: each of its
/// characters takes at most 6 bytes, and each byte that is no character takes 3.
pub const README_HTML: usize = 8 * README_BYTES;

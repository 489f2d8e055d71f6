//! What the Graph API means to us.

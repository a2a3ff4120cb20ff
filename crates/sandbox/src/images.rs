//! Which images clients may ask for.

use virtmark_hypervisor::BootImage;

use crate::Result;
use crate::api::ImageName;

/// Turns the name of an image, as a client writes it, into what a machine boots. Only what the operator allowed has a
/// name here.
pub trait Images: Send + Sync {
    /// The image of this name, or the default one. The files of what is given stay for as long as `self` lives.
    ///
    /// # Errors
    /// [`crate::Error::ImageUnknown`] for a name that is not one.
    fn resolve(&self, name: Option<&ImageName>) -> Result<BootImage>;

    /// The names that can be asked for.
    fn names(&self) -> Vec<String>;
}

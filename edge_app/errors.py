"""Every error that Pneumoscope raises on purpose.

PneumoscopeError
├─ UsageError                      the command line or an argument is wrong
├─ NoInputError                    nothing to score was found
├─ DataError                       labelled pictures cannot be used as they are
├─ ConfigError                     a training run's configuration or record cannot be used
├─ InputError                      this image: a batch records it and goes on
│  ├─ UnreadableImageError
│  └─ UnsupportedDicomError
├─ BundleError                     this model: stop
│  ├─ BundleFormatError
│  ├─ BundleIntegrityError         hash or signature
│  ├─ SelfTestError                golden inputs gave other scores on this CPU
│  └─ SiteProfileError             this site's cut-offs: damaged, edited, of another model
├─ RecordError                     the clinic's record cannot do that
│  ├─ NotInRecordError             no study, picture or account of that name
│  ├─ ChangedMeanwhileError        another worker has changed it since it was read
│  └─ NotAllowedError              a log-in, a session or a code that does not hold
├─ PackError                       what a device has sent: `fleet merge` names it and goes on
├─ StorageError                    the disk: stop, and nothing half-written stays
└─ RuntimeUnavailableError         names the extra to install

A message says what, where and what to do. `exit_code` is what a command ends with.
"""

EXIT_OK = 0
EXIT_SOME_FAILED = 1
EXIT_USAGE = 2
EXIT_BUNDLE = 3
EXIT_NO_INPUT = 4
EXIT_STORAGE = 5
EXIT_INTERRUPTED = 130


class PneumoscopeError(Exception):
    """Base of all errors below; never raised itself."""

    exit_code = EXIT_SOME_FAILED


class UsageError(PneumoscopeError):
    """An argument is wrong, or arguments contradict each other."""

    exit_code = EXIT_USAGE


class NoInputError(PneumoscopeError):
    """The folder is missing or holds nothing to score."""

    exit_code = EXIT_NO_INPUT


class DataError(PneumoscopeError):
    """Labelled pictures cannot be used: a missing file or column, a patient on both sides, ..."""

    exit_code = EXIT_USAGE


class ConfigError(PneumoscopeError):
    """A training run's configuration or record cannot be used; names the file and the key."""

    exit_code = EXIT_USAGE


class InputError(PneumoscopeError):
    """One image could not be used; `reason` is the code that its result row carries."""

    exit_code = EXIT_SOME_FAILED
    reason = "unreadable"


class UnreadableImageError(InputError):
    """The file is not an image, is damaged, or would need unreasonable memory."""

    reason = "unreadable"


class UnsupportedDicomError(InputError):
    """A DICOM object without a picture, or in an encoding that needs a decoder not installed."""

    reason = "unsupported_dicom"


class BundleError(PneumoscopeError):
    """The model bundle cannot be used."""

    exit_code = EXIT_BUNDLE


class BundleFormatError(BundleError):
    """A key of bundle.json is unknown, missing or of the wrong kind, or its version is newer."""


class BundleIntegrityError(BundleError):
    """A file's hash or the signature does not match."""


class SelfTestError(BundleError):
    """The golden inputs gave other scores on this CPU than the bundle promises."""


class RecordError(PneumoscopeError):
    """The clinic's record cannot do what was asked; the message says why."""


class NotInRecordError(RecordError):
    """There is no study, picture or account of that name."""


class ChangedMeanwhileError(RecordError):
    """Another worker has changed a study since it was read; nothing was overwritten."""


class NotAllowedError(RecordError):
    """A password, code, PIN or session does not hold, or there were too many attempts."""


class SiteProfileError(BundleError):
    """A site profile is damaged, was edited, is signed by a stranger or is for another model."""


class PackError(PneumoscopeError):
    """A device's pack is cut off, changed, of a stranger or of another version."""


class StorageError(PneumoscopeError):
    """The disk is full, read-only or gone."""

    exit_code = EXIT_STORAGE


class RuntimeUnavailableError(PneumoscopeError):
    """An inference runtime or an optional dependency is missing; the message names the extra."""

    exit_code = EXIT_BUNDLE

/* A digest of the other C sources here, which Python knows too: tools/shim-sources renews both.
 * A module that says another one was built from other sources than those that Python's side was written for. */
#define SHIM_SOURCES "6cf99038914ced82"

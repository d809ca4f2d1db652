// Linked into the static programs. To look up a name, the C library loads further
// modules of the system, and crashes if they are of another version than itself.
// These are the modules that it contains.

int __nss_configure_lookup(const char *database, const char *services);

__attribute__((constructor)) static void use_own_modules(void) {
  __nss_configure_lookup("hosts", "files dns");
  __nss_configure_lookup("passwd", "files");
}

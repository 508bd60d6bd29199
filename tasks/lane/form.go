package lane

import "patchlane/tasks/contact"

// form puts an entry into the version in which entries are written now.
func (a *Appender) form(entry []byte) []byte {
	if a.cfg.EntryVersion == nil {
		return entry
	}
	return contact.Form(entry, a.cfg.EntryVersion())
}

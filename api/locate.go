package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// contactID finds the contact that the path names: by its id, which may not be
// there, or by a phone number, which is looked up.
func (s *Server) contactID(ctx context.Context, x *exchange) (uuid.UUID, error) {
	at, err := x.dialect.Locate(x.PathValue("id"))
	if err != nil || at.ID != uuid.Nil {
		return at.ID, err
	}
	// Active contacts come first: an archived one is meant only if no other
	// has the number.
	for _, archived := range []bool{false, true} {
		ids, err := s.withPhone(ctx, x.account(), at.Phones, archived)
		switch {
		case err != nil:
			return uuid.Nil, err
		case len(ids) == 1:
			return ids[0], nil
		case len(ids) > 1:
			return uuid.Nil, &contact.Error{
				Code: contact.CodeDuplicate, Message: "Several contacts have this phone number.",
				Fix: "Name the contact by its id.",
			}
		}
	}
	return uuid.Nil, &contact.Error{Code: contact.CodeNotFound, Message: "No contact has this phone number."}
}

// withPhone finds up to two contacts that have a number in each of its forms.
func (s *Server) withPhone(
	ctx context.Context, account uuid.UUID, forms []string, archived bool,
) ([]uuid.UUID, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	var ids []uuid.UUID
	for _, phone := range forms {
		page, err := s.opt.Contacts.Contacts(ctx, contact.ContactQuery{
			Account: account, Phone: &phone, IncludeArchived: archived, Limit: 2,
		})
		if err != nil {
			return nil, storeError(err)
		}
		for i := range page.Contacts {
			ids = append(ids, page.Contacts[i].ID)
		}
	}
	return ids, nil
}

// missingID is the error of a change of no contact, in a dialect that has one:
// the path ends where the id should begin.
func (x *exchange) missingID() error {
	if !x.dialect.Traits().NeedsID || !strings.HasSuffix(strings.TrimSuffix(x.URL.Path, "/"), "/contacts") {
		return nil
	}
	if x.Method != http.MethodPatch && x.Method != http.MethodDelete {
		return nil
	}
	_, err := x.dialect.Locate("")
	return err
}

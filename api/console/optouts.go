package console

import (
	"net/http"

	"patchlane/tasks/contact"
)

// optoutPageSize is how many reviews, and how many quarantined events, are listed.
const optoutPageSize = 50

// optoutsView is the page of what somebody has to judge.
type optoutsView struct {
	Reviews         contact.ReviewPage
	Quarantine      contact.QuarantinePage
	Pending, Locked int64
}

func (c *Console) optoutsPage(v *visit) error {
	ctx := v.r.Context()
	var p optoutsView
	var err error
	if p.Pending, p.Locked, err = c.o.Optouts.Undecided(ctx); err != nil {
		return err
	}
	p.Reviews, err = c.o.Optouts.Reviews(ctx, contact.ReviewQuery{
		AllAccounts: true, State: contact.ReviewPending, Limit: optoutPageSize, After: v.query("reviews"),
	})
	if err != nil {
		return err
	}
	p.Quarantine, err = c.o.Optouts.Quarantined(ctx, contact.QuarantineQuery{
		AllAccounts: true, Limit: optoutPageSize, After: v.query("quarantine"),
	})
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "optouts", "Opt-outs", p)
}

// decide accepts or dismisses a review.
func (c *Console) decide(v *visit) error {
	account, err := parseID(v.r.PathValue("account"), "account")
	if err != nil {
		return err
	}
	id, err := parseID(v.r.PathValue("id"), "review")
	if err != nil {
		return err
	}
	ctx, who := v.r.Context(), "operator "+v.session.name
	switch v.form("decision") {
	case "accept":
		err = c.o.API.AcceptReview(ctx, account, id, who)
		v.note("accept opt-out", account, id.String(), "", err)
	case "dismiss":
		var r contact.OptOutReview
		if r, err = c.o.Optouts.DismissReview(ctx, account, id, who); err == nil && r.State == contact.ReviewAccepted {
			err = &contact.Error{Code: contact.CodeAlreadyDecided, Message: "The review was accepted before."}
		}
		v.note("dismiss opt-out", account, id.String(), "", err)
	default:
		return badInput("A review is accepted or dismissed.")
	}
	if err != nil {
		return err
	}
	said := "Accepted. The opt-out is applied within a second."
	if v.form("decision") == "dismiss" {
		said = "Dismissed."
	}
	v.back("/ops/optouts", said)
	return nil
}

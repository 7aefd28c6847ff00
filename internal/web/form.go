package web

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
)

// filled is a form that is shown again: what was typed into it, and what is
// wrong with it. The focus goes to the first field that is wrong.
type filled struct {
	Name   string // which of the page's forms; "" = none was sent
	Values url.Values
	Wrongs []wrong // in the order of the fields
}

// wrong is what is wrong with one field of a form.
type wrong struct {
	Field   string // "" = none in particular
	Label   string // of the field, where all that is wrong is listed
	Message string
	Hint    []string
	Shell   []string // commands of it
}

// beside is what a page says at one field: the sentences beside it, and on the
// field itself that they are about it.
type beside struct {
	ID      string // of the sentences
	Message string // "" = nothing is wrong
	Hint    []string
	Shell   []string
	Help    string // id of what describes the field in any case
	Focus   bool
	Whole   bool // it is about no field
}

// answers gives an error that answers a form, and belongs on the form's own
// page; nil = it is of another kind: who is signed in, what is not there, or
// the server's own trouble.
func answers(err error) *restart.Error {
	e, ok := asProblem(err)
	if !ok || slices.Contains([]restart.Code{restart.CodeUnauthorised, restart.CodeSignInAgain, restart.CodeNotFound}, e.Code) {
		return nil
	}
	return e
}

// readForm reads what was sent, of at most limit bytes.
func readForm(w http.ResponseWriter, v *visit, limit int64) error {
	v.Body = http.MaxBytesReader(w, v.Body, limit)
	if err := v.ParseForm(); err != nil {
		return restart.Errorf(restart.CodeInvalid, "the form can't be read").Because(err)
	}
	return nil
}

// wrongOf says an error beside the field that it is about.
func wrongOf(l language, e *restart.Error) wrong {
	w := wrong{Field: restart.FieldOf(e), Message: said.In(l, e.Message)}
	w.Hint, w.Shell = hintOf(l, e.Hint)
	return w
}

// refill gives a form that was refused, to be shown again. Errors that are not
// about what was typed have a page of their own: they are given back.
func refill(v *visit, name string, err error) (filled, error) {
	e, ok := asProblem(err)
	typed := ok && (restart.FieldOf(e) != "" || slices.Contains([]restart.Code{restart.CodeInvalid, restart.CodeConflict, restart.CodeTooLarge}, e.Code))
	if !typed {
		return filled{}, err
	}
	return filled{Name: name, Values: v.PostForm, Wrongs: []wrong{wrongOf(v.lang, e)}}, nil
}

// refuse gives a form with a sentence of the page's own beside a field.
func refuse(values url.Values, name, field, message string) filled {
	return filled{Name: name, Values: values, Wrongs: []wrong{{Field: field, Message: message}}}
}

// For gives the form if it is the one of that name, and an empty one otherwise.
func (f filled) For(name string) filled {
	if f.Name == name {
		return f
	}
	return filled{}
}

// Value gives what was typed into a field, or else what it begins with.
func (f filled) Value(field, otherwise string) string {
	if f.Name == "" {
		return otherwise
	}
	return restart.Escape(f.Values.Get(field))
}

// Has tells whether a value was chosen in a field; before anything was sent,
// otherwise.
func (f filled) Has(field, value string, otherwise bool) bool {
	if f.Name == "" {
		return otherwise
	}
	return slices.Contains(f.Values[field], value)
}

// At gives what is to be said at a field, which the text with the id help
// describes in any case.
func (f filled) At(field string, help ...string) beside {
	var b beside
	if len(help) > 0 {
		b.Help = help[0]
	}
	for i, x := range f.Wrongs {
		if x.Field == field && field != "" {
			b.ID, b.Message, b.Hint, b.Shell, b.Focus = f.Name+"-"+field+"-wrong", x.Message, x.Hint, x.Shell, i == 0
			break
		}
	}
	return b
}

// Whole gives what is wrong with no field that the form has.
func (f filled) Whole(fields ...string) beside {
	for _, x := range f.Wrongs {
		if !slices.Contains(fields, x.Field) {
			return beside{ID: f.Name + "-wrong", Message: x.Message, Hint: x.Hint, Shell: x.Shell, Whole: true}
		}
	}
	return beside{}
}

// Group is b at fields that stand together: the focus goes to one of them.
func (b beside) Group() beside {
	b.Focus = false
	return b
}

// reasonField is the field of a reason.
type reasonField struct {
	ID, Label, Value string
	At               beside
}

// Reason gives the field of the reason of a form, whose id begins so.
func (f filled) Reason(id, label string) reasonField {
	return reasonField{ID: id + "-reason", Label: label, Value: f.Value("reason", ""), At: f.At("reason")}
}

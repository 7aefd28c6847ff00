package said

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/authz"
)

// told are the packages whose sentences get to pages or into chats: of some every
// sentence, of others (which have words for databases, files and systemctl, too)
// those of their errors alone.
var told = map[string]bool{ // whether every text that reads like a sentence counts
	"control": true, "restart": true, "authz": true, "review": true, "orchestrator": true, "dispatch": true, "health": true, "agent/supervisor": true, "evidence": true,
	"hostwork": true, "store": false, "authn": false, "authn/ldap": false, "authn/oidc": false, "protocol": true, "inventory": true, "strict": false,
	"scenario": true, "silence": false, "scenario/signing": false, "pki": false, "agent": true, "agent/host": true, "agent/units": true, "agent/spool": true, "web": false, "archive": true, "dump/capture": false, "dump/parse": false, "dump/redact": false, "dump/pack": false, "tracker": false, "lock": true,
	"chat": false, "notify": false, "outgoing": false, "secret": false,
}

// wrapped are packages whose plain errors get to pages as they are: an agent
// says by them how a task, its evidence or a dump went.
var wrapped = map[string]bool{"agent/supervisor": true, "evidence": true, "dump/capture": true, "health": true, "dispatch": true, "agent/host": true, "tracker": true, "notify": true, "outgoing": true}

// untold are files, or folders, of which no sentence gets to a page or into a chat.
var untold = map[string]string{
	"agent/join.go": atTheHost, "agent/join_ask.go": atTheHost, "agent/local_process.go": atTheHost, "agent/local_record.go": atTheHost,
	"agent/onhost.go": atTheHost, "agent/socket.go": atTheHost, "agent/settings.go": atTheHost, "agent/serve.go": atTheHost, "agent/refresh.go": atTheHost,
	"agent/spool/folder.go": atTheHost, "agent/spool/osfolder.go": atTheHost, "agent/spool/spool.go": atTheHost,
	"agent/metrics.go": "says what a metric is", "agent/exposition.go": "writes metrics", "agent/asked.go": recorded,
	"agent/units/choose.go":        finding,
	"agent/supervisor/rehearse.go": printed,
	"tracker/settings.go":          atStart, "tracker/tell.go": "the log says it, of a message",
	"authn/ldap/config.go": atStart, "authn/oidc/config.go": atStart, "inventory/config.go": atStart, "pki/ca.go": atStart, "pki/credentials.go": atStart,
	"restart/bytes.go": atStart, "pki/envelope.go": atStart, "pki/files.go": atStart, "pki/jointoken.go": atTheHost,
	"store/sqlite.go": atStart, "store/postgres.go": atStart, "store/store.go": atStart, "store/migrate.go": atStart, "store/statistics.go": atStart,
	"store/backup.go": inTerminal, "store/restore.go": inTerminal, "store/restore_file.go": inTerminal,
	"scenario/new.go": inTerminal, "scenario/signing/sign.go": inTerminal, "authz/cases.go": inTerminal,
	"lock/settings.go":        atStart,
	"evidence/descriptors.go": evident, "evidence/process.go": evident,
	"chat/settings.go": atStart, "chat/telegram.go": atStart, "chat/slack.go": atStart, "chat/mattermost.go": atStart,
	"restart/dumpstep.go": "goes into the output of a rehearsal", "agent/local_dump.go": recorded,
	"control/calendar.go": "goes to programs that read calendars", "restart/maintenance.go": atStart,
	"silence/settings.go": atStart, "silence/caller.go": atStart,
	"notify/settings.go": atStart, "notify/choice.go": atStart, "notify/channel.go": atStart, "notify/digest.go": "is logged",
	"restart/freeze.go": "says where in a word or two, of which pages have their own",
}

// Why a sentence gets neither to a page nor into a chat.
const (
	atStart    = "a program that starts says it to who runs it, or to restartilka config check"
	finding    = "is for restartilka hosts discover"
	atTheHost  = "an agent says it at its start, or to root on its host"
	inTerminal = "the command line alone says it"
	evident    = "is evidence, kept and shown as it was taken"
	recorded   = "goes into the audit trail, which is in English"
	printed    = "goes into the output of a task, as what a script says does"
	itsOwn     = "says what a program could not do within itself, or what the kernel refused: readable, and nothing that a person can act on"
	itsForms   = "has an entry for each of its forms"
	compared   = "is compared with, and said by nobody"
)

// untoldSentences are sentences that read like one and get neither to a page nor into a chat.
var untoldSentences = map[string]string{
	"%d of %s did not succeed": itsForms, "%s not well, %d allowed": itsForms, "%s is %s": itsForms, "%s is not %s": itsForms, "an %s": itsForms, "%s or %s": "is told as a list",
	"%s runs": itsForms, "%s is new": itsForms, "set package: in /etc/restartilka/services.d/SERVICE.yaml on the host, or in the reviewed scenario": itsForms,
	"set unit: in /etc/restartilka/services.d/SERVICE.yaml on the host, or in the reviewed scenario": itsForms,
	"%s; no host was touched": itsForms, "%s; the host says now: %s": itsForms, "aborted by a person; no further host was touched%s": itsForms, "aborted by force; %s%s": itsForms,
	"is left to do now": itsForms, "is not in the group any more": itsForms, "is not left to do any more, or not in the group": itsForms,
	"newer than the server's": itsForms, "of other bytes": itsForms, "leave out the healthy hosts (%s), %s": itsForms, "the service has no owners in the inventory)": itsForms,
	"with %s": itsForms, "the host says now": itsForms,
	"asked for by the rule %s; may approve: %s; plan %s": recorded, "approved by %s": recorded, "planned as %s": recorded, "schedule %s": "is logged", "a schedule begins with a plan, a time, and an approval where it waits for one": "is our own slip", "a schedule does not become %s so": "is our own slip",
	"%s to %s": recorded, "weekly %s %s": recorded, "a retry of run %s": recorded, "undrain alone, after run %s": recorded, "only for %s": recorded,
	"the answer was asked for again, with token %s": recorded, "with token %s, serial %s": recorded, "login of %s": "is the name of a token",

	"ca_file, certificate and key say nothing without tls: true, and certificate and key go together": atStart, "servers is needed: HOST:PORT of each": atStart, "url: the protocol has no query": atStart,
	"please restart": compared, "reason for restart": compared, "reason for the restart": compared, "reason text": compared, "restart service": compared, "restart the service": compared,
	"your reason": compared, "the reason": compared, "signed before": compared, "нужен перезапуск": compared, "причина перезапуска": compared,
	"run %s is at epoch %d": "ends a walk, and is seen by nobody", "run %s of %s on %s: %s": "is for messages and the command line",
	"scenario %s serial %d may be used until the end of %s, and no longer": "is sent as a message",
	"it holds one line, the password of bind_dn":                           atStart, "it holds the secret that the issuer gave to client_id": atStart, "json or text": atStart, "the inventory file, such as /etc/restartilka/inventory.yaml": atStart,
	"kind %s knows hosts, not services: describe them in a YAML file with a services section": atStart, "use one of them": atStart, "inventory.token_file: %s": "is a key and a sentence",
	"# as a server said at": "is a line of a file", "# as a server said at %s\n": "is a line of a file", "not ready\n": "answers a probe", "request failed": "is logged", "request refused": "is logged",
	"make an agent: Keys, Spool, Archive, Launcher and Packages are needed": "is our own slip", "look at the file system of": "is a cause", "write to": "is a cause", "hand down": "is a cause",
	"%d processes have a command line that fits %s: %s%s": itsForms, "answers with %d": itsForms, "answers with something else than goroutines: %s": itsForms, "broke off: %s": itsForms, "does not answer: %s": itsForms,
	"sends us elsewhere (%d), where we don't go": itsForms, "the JVM %d %s /tmp/%s": itsForms, "the output of process %d %s": itsForms, "the pprof endpoint %s %s": itsForms,
	"the process that takes dumps ended before its time%s": itsForms,
	"%s of process %d can't be read":                       itsOwn, "%s of process %d: %w": itsOwn, "a stat that can't be read": itsOwn, "a stat without a name": itsOwn, "ask %s: %w": itsOwn, "clear inheritable capabilities: %w": itsOwn,
	"connect to %s: %w": itsOwn, "drop capability %d: %w": itsOwn, "encode an event: %w": itsOwn, "encode the job of a dump: %w": itsOwn, "field %d of a stat: %w": itsOwn, "fill sealed memory: %w": itsOwn,
	"forbid new privileges: %w": itsOwn, "hand over a dump: %w": itsOwn, "hand over the job of a dump: %w": itsOwn, "keep a script: %w": itsOwn, "list this host's addresses: %w": itsOwn, "make a pipe: %w": itsOwn,
	"make a socket: %w": itsOwn, "make sealed memory: %w": itsOwn, "read %s: %w": itsOwn, "read from the process that takes dumps: %w": itsOwn, "read the envelope: %w": itsOwn, "read the job of a dump: %w": itsOwn,
	"read the job of a dump: it is too long": itsOwn, "read the job: %w": itsOwn, "seal memory: %w": itsOwn, "start %s: %w": itsOwn, "stat of process %d has %d fields": itsOwn, "stat of process %d has no name": itsOwn,
	"stat of process %d: %w": itsOwn, "the job of a dump can't be read: %v": itsOwn, "the number belongs to another process now": itsOwn, "the process that takes dumps sent a dump of %d bytes": itsOwn,
	"the process that takes dumps sent a line without an end": itsOwn, "the process that takes dumps sent neither a dump nor an error": itsOwn, "the process that takes dumps sent too many": itsOwn,
	"where process %d writes to: %w": itsOwn, "which signals process %d catches: %w": itsOwn, "which unit process %d belongs to: %w": itsOwn,
	"the health command ended with %d%s": itsForms,
	"a line of %d fields":                itsOwn, "address %s": itsOwn, "encode a request to %s: %w": itsOwn, "inode %s": itsOwn, "invocation id %s": itsOwn, "main pid %s": itsOwn, "make a request to %s: %w": itsOwn,
	"open %s: %w": itsOwn, "parse stat: %d fields after the command name": itsOwn, "parse stat: no command name": itsOwn, "parse stat: parent %s": itsOwn, "parse stat: pid %s": itsOwn, "parse stat: start time %s": itsOwn,
	"read %s/%s: %w": itsOwn, "read the boot id: %w": itsOwn, "stat %s: %w": itsOwn, "user %s: %w": itsOwn,
	"%d ms": printed, "%s: %s by %s, %s in %s": printed, "Go program": printed, "Python program": printed, "dump %d of %d": printed, "dump before the change": printed, "dump after the change": printed,
	"a dump is of a run, or somebody's upload": "is our own slip", "comparison with %s": recorded, "name a service of this host": atTheHost, "restartilka-agent check lists the services": atTheHost,
	"%s files": itsForms, "in environment %s": itsForms, "in its phase %s": itsForms, "of project %s": itsForms, "while it ran": itsForms,
	"%s gives the same group for every service": atStart, "%s holds an unknown %s": atStart, "%s is not known": atStart, "%s is not one word": atStart, "and command are both given": atStart, "command: [ansible-inventory, -i, /etc/ansible/hosts, --list]": atStart, "use #service#, #package# or #project#": atStart,
	"holds a wrong name: %s": atStart, "is a file: dir and timeout are for a command": atStart, "is given without token_file": atStart, "is missing": atStart, "or command is missing": atStart,
	"%s does not begin with /": atStart, "%s does not end with .json, .yml or .yaml": atStart, "%s has more than %d parts": atStart, "%s is not a JSON pointer": atStart, "%s is not a usable pattern": atStart, "* stands in the last part of the path: /etc/prometheus/targets/*.json": atStart, "/results/* is every element of results, . is the element itself, and @key is the name under which it stands": atStart, "a service is described under the name that it has in Consul": atStart, "and mapping.services are both given": atStart, "and timeout are not for this": atStart, "and token_scheme are both given": atStart, "and url are both given": atStart, "and what belongs to it are for an url": atStart, "files: [/etc/prometheus/targets/*.json], or the address that http_sd_configs asks": atStart, "has %s, which is needed, behind %s, which is optional": atStart, "has next, which is for an url": atStart, "has no %s.each": atStart, "has no %s.name": atStart, "has no service for kind consul": atStart, "has two of the name %s": atStart, "holds %d: there must be from 1 to %d": atStart, "holds %s, which is merged itself": atStart, "in a name, ~0 stands for ~ and ~1 for /": atStart, "inventory.sources, %s: %s": atStart, "is missing, or has neither hosts nor groups": atStart, "mapping: {hosts: {each: /results/*, name: /fqdn}}": atStart, "needs a name for each: %s": atStart, "or url is missing": atStart, "path or command: one of them is needed": atStart, "use one of them, or two sources of kind merged": atStart, "what may be missing comes last: it must not count more than what is always there": atStart, "where the name is in an element: /fqdn, . for the element itself, or @key for the name under which it stands": atStart, "where they are in the document: /results/*": atStart, "{name: cmdb, kind: json, …}": atStart,
	"such as: web1.example.com, %shop-front-testing, %shop-front-testing@dc1, #canary, node[01-20], -web3.example.com": itsForms,
	"another task": "is a word of another", "choose one with --digest: %s or %s": atTheHost, "choose one with --scenario NAME": atTheHost, "lay the reviewed file into %s, owned by root": atTheHost, "lay the reviewed file into %s, owned by root; not looked at: %s": atTheHost,
	"more than one scenario of kind %s fits service %s: %s": atTheHost, "reviewed here for it: %s": atTheHost, "scenario %s": atTheHost, "scenario of kind %s": atTheHost, "this host has no reviewed %s for service %s": atTheHost, "two files in %s are scenario %s with serial %d": atTheHost,
	"no version of scenario %s was accepted on this host": atTheHost, "this host keeps no serials: it trusts the files that lie on it (review: files)": atTheHost,
	// of package notify and what it is made of
	"%s has mode %04o: others can reach it": itsForms, "the message is not there any more": compared, "openssl rand -hex 32 > %s": "is a command", "dial %s: %w": itsOwn, "encode a message: %w": itsOwn, "more than %d redirects": itsOwn, "read a message: %w": itsOwn, "read the message: %w": itsOwn, "redirect to another origin": itsOwn, "set up mail: %w": itsOwn, "write a mail: %w": itsOwn,
	"%s holds no PEM certificate": atStart, "%s is every address there is": atStart, "%s is neither a network nor an address": atStart, "%s is not given: the receiver could not tell our messages from others'": atStart, "%s is not given: without a token nothing can be said there": atStart, "%s is not the name of a credential": atStart,
	"%s.%s: %s is not a name": atStart, "%s.allow_networks: %v": atStart, "%s.ca_file: %v": atStart, "%s.channel is neither the id nor the name of a channel": atStart, "%s.channel is not the id of a channel": atStart, "%s.chat is neither the number of a chat nor the name of a channel": atStart,
	"%s.dashboard: %s is not the UID of a dashboard": atStart, "%s.health: %s is not from %s to %s": atStart, "%s.token_file: it does not hold a bot's token": atStart, "%s.url is not usable: %v": atStart, "%sNAME, as in the unit's LoadCredential=NAME:FILE": atStart, "26 letters and digits: the channel's menu shows them under \"View Info\"": atStart,
	"a file with the bot's token, mode 600": atStart, "a mailing list is one": atStart, "a name or password does not belong there": atStart, "allow_networks: %v": atStart, "ca_file: %v": atStart, "from is no address of mail": atStart,
	"it is not given": atStart, "it is not the address of a page on a host": atStart, "its address has it, behind /d/": atStart, "its scheme is not https": atStart, "name the network that is meant": atStart, "openssl rand -hex 32 > FILE, mode 600": atStart,
	"server is not HOST:PORT": atStart, "such as -1001234567890, or @name": atStart, "such as 110201543:AAHd…, as BotFather gives it": atStart, "such as 169.254.0.0/16": atStart, "such as C0123456789: the channel's details show it": atStart, "such as https://chat.example.com": atStart,
	"such as https://chat.example.com/hooks/restartilka": atStart, "such as restartilka.example.com": atStart, "such as restartilka@example.com": atStart, "such as smtp.example.com:587": atStart, "tls: %s is none of starttls, tls, none": atStart, "tls: none is for a server on this machine alone: anybody on the way could read and change mail, and the password": atStart,
	"tls: starttls": atStart, "to has more than %d addresses": atStart, "to is empty, and owners is not set: nobody would get mail": atStart, "to: %s is no address of mail": atStart, "to: [ops@example.com], or owners: true": atStart, "user and password_file belong together": atStart,
	"without TLS anybody on the way could read and change what is sent; http is for a loopback address alone": atStart,
}

// TestEverySentenceIsSaid reads the program: each sentence that can get to a page
// or into a chat has its Russian, and none is left over.
func TestEverySentenceIsSaid(t *testing.T) {
	found := map[string]string{}
	for _, folder := range slices.Sorted(maps.Keys(told)) {
		maps.Copy(found, sentencesOf(t, folder, told[folder]))
	}
	if len(found) < 500 {
		t.Fatalf("only %d sentences were found", len(found))
	}
	// Sentences that the program puts together, so that no one place has them.
	b, err := os.ReadFile("testdata/forms.txt")
	if err != nil {
		t.Fatal(err)
	}
	forms := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	for _, format := range forms {
		if texts[format] == "" || found[format] != "" {
			t.Errorf("testdata/forms.txt: %q has no Russian, or stands in the program and need not be here", format)
		}
	}
	for _, action := range authz.Actions() {
		if actionsDone[action] == "" {
			t.Errorf("the action %s has no Russian", action)
		}
	}
	forms = slices.AppendSeq(forms, maps.Keys(actionTexts))
	for format := range texts {
		if found[format] == "" && !slices.Contains(forms, format) {
			t.Errorf("%q is said by nobody; if it is put together of parts, it goes into testdata/forms.txt", format)
		}
	}
	for format, why := range untoldSentences {
		if found[format] == "" || why == "" || texts[format] != "" {
			t.Errorf("%q is said by nobody, or has its Russian, and need not be left out", format)
		}
	}
	for _, format := range slices.Sorted(maps.Keys(found)) {
		if texts[format] == "" && words[format] == "" && untoldSentences[format] == "" {
			t.Errorf("%s: no Russian. Into the table of its area:\n\t%q: \"…\",", found[format], format)
		}
	}
}

var (
	reads    = regexp.MustCompile(`[\p{L},:;)%"] ?[\p{L}%("–—]*[\p{L}s)"%] [\p{L}%("]`)
	isFormat = regexp.MustCompile(`%(\[[0-9]\])?[sdvq]`)
	lettered = regexp.MustCompile(`\p{L}{2}`)
	verb     = regexp.MustCompile(`%(\[[0-9]+\])?[a-z]`)
	layouts  = regexp.MustCompile(`2006|15:04`)
)

// reader collects the sentences of one package.
type reader struct {
	t      *testing.T
	fset   *token.FileSet
	every  bool
	wraps  bool // fmt.Errorf makes sentences, too
	consts map[string]string
	found  map[string]string
}

func sentencesOf(t *testing.T, folder string, every bool) map[string]string {
	t.Helper()
	r := &reader{t: t, fset: token.NewFileSet(), every: every, wraps: wrapped[folder], consts: map[string]string{}, found: map[string]string{}}
	files, err := filepath.Glob(filepath.Join("..", folder, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v", folder, err)
	}
	var parsed []*ast.File
	for _, file := range files {
		name := filepath.ToSlash(filepath.Join(folder, filepath.Base(file)))
		if strings.HasSuffix(file, "_test.go") || untold[name] != "" {
			continue
		}
		f, err := parser.ParseFile(r.fset, file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, f)
		ast.Inspect(f, r.constants)
	}
	for _, f := range parsed {
		ast.Inspect(f, r.visit)
	}
	return r.found
}

// constants notes the constant texts of the package, wherever they are.
func (r *reader) constants(n ast.Node) bool {
	d, ok := n.(*ast.GenDecl)
	if !ok || d.Tok != token.CONST {
		return true
	}
	for _, s := range d.Specs {
		v, ok := s.(*ast.ValueSpec)
		for i := range v.Names {
			if ok && i < len(v.Values) {
				if format, constant := r.format(v.Values[i], true); constant {
					r.consts[v.Names[i].Name] = format
				}
			}
		}
	}
	return true
}

// quiet are calls whose texts are for programs, for the log, or for us.
var quiet = regexp.MustCompile(`^(fmt\.Errorf|fmt\.Fprint.*|panic|.*[lL]og(ger)?\.(With|Debug|Info|Warn|Error|WarnContext|ErrorContext|InfoContext)|strings\..*|regexp\..*|slog\..*|path\..*|filepath\..*|.*\.Format|time\..*|exec\..*|os\..*|clip|.*\.Logger\..*)$`)

// errorsOf are calls that make errors for people, with the place of the format
// among their arguments; the hint of the scenarios' findings is another text.
var errorsOf = map[string][]int{
	"restart.Errorf": {1}, "Errorf": {1}, "WithHint": {0}, "strict.LineError": {1}, "LineError": {1}, "bad": {0}, "refuse": {0, 1}, "say": {0, 1}, "problem": {0}, "warn": {0, 1, 2},
	"unavailable": {0, 1}, "errors.New": {0}, "p.note": {0}, "t.refuse": {0}, "token.refuse": {0},
}

func (r *reader) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.ImportSpec, *ast.Field, *ast.CaseClause:
		if c, ok := n.(*ast.CaseClause); ok {
			for _, s := range c.Body {
				ast.Inspect(s, r.visit)
			}
		}
		return false
	case *ast.AssignStmt: // the detail of an audit record
		if len(n.Lhs) > 0 && strings.HasSuffix(called(n.Lhs[len(n.Lhs)-1]), "Detail") && strings.HasPrefix(called(n.Lhs[len(n.Lhs)-1]), "rec") {
			return false
		}
	case *ast.KeyValueExpr:
		return called(n.Key) != "Detail"
	case *ast.CallExpr:
		return r.call(n)
	case *ast.BinaryExpr:
		if n.Op == token.ADD {
			if format, _ := r.format(n, true); r.every {
				r.note(n, format)
			}
			r.inside(n)
			return false
		}
		return n.Op != token.EQL && n.Op != token.NEQ
	case *ast.BasicLit:
		if format, ok := r.format(n, true); ok && r.every {
			r.note(n, format)
		}
	}
	return true
}

// inside looks at what is put together, but for the texts.
func (r *reader) inside(e ast.Expr) {
	switch e := e.(type) {
	case *ast.BinaryExpr:
		r.inside(e.X)
		r.inside(e.Y)
	case *ast.CallExpr:
		ast.Inspect(e, r.visit)
	}
}

func (r *reader) call(c *ast.CallExpr) bool {
	name := called(c.Fun)
	if s, ok := c.Fun.(*ast.SelectorExpr); ok {
		if s.Sel.Name == "WithHint" {
			name = "WithHint"
		}
		ast.Inspect(s.X, r.visit)
	}
	if name == "fmt.Errorf" && r.wraps {
		name = "errors.New"
	} else if quiet.MatchString(name) {
		for _, a := range c.Args {
			if inner, ok := a.(*ast.CallExpr); ok {
				ast.Inspect(inner, r.visit)
			}
		}
		return false
	}
	if strings.HasSuffix(name, ".refuse") && !strings.HasSuffix(name, "found.refuse") && len(c.Args) >= 4 { // of a section: it begins with the key
		if format, ok := r.format(c.Args[3], false); ok {
			r.sure(c.Args[3], "%s "+format)
			c = &ast.CallExpr{Fun: c.Fun, Args: slices.Delete(slices.Clone(c.Args), 3, 4)}
		}
	}
	places, made := errorsOf[name]
	if name == "errors.New" && !r.every && !r.wraps {
		return false
	}
	formats := map[int]bool{}
	for _, i := range places {
		if made && i < len(c.Args) {
			if format, ok := r.format(c.Args[i], called(c.Fun) == "errors.New"); ok {
				formats[i] = true
				r.sure(c.Args[i], format)
			}
		}
	}
	if name == "fmt.Sprintf" {
		formats[0] = true
		if format, ok := r.format(c.Args[0], false); ok && r.every {
			r.note(c, format)
		}
	}
	for i, a := range c.Args {
		if !formats[i] {
			ast.Inspect(a, r.visit)
		}
	}
	return false
}

// note keeps what reads like a sentence.
func (r *reader) note(n ast.Node, format string) {
	if strings.Contains(format, " ") && reads.MatchString(format) && !layouts.MatchString(format) {
		r.sure(n, format)
	}
}

// sure keeps what is one by its place, but for what has no words.
func (r *reader) sure(n ast.Node, format string) {
	format = strings.TrimRight(strings.TrimLeft(format, " ;,:("), " ;,:(")
	if strings.Contains(format, " ") && lettered.MatchString(verb.ReplaceAllString(format, "")) {
		r.found[format] = r.fset.Position(n.Pos()).String()
	}
}

// format gives the format that an expression makes a text by, and whether it is
// one. What is literal is no format of package fmt, but a text.
func (r *reader) format(e ast.Expr, literal bool) (string, bool) {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return r.format(e.X, literal)
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		if e.Kind != token.STRING || err != nil {
			return "%s", false
		}
		if literal && !isFormat.MatchString(s) {
			s = strings.ReplaceAll(s, "%", "%%")
		}
		return s, true
	case *ast.Ident:
		if s, ok := r.consts[e.Name]; ok {
			return s, true
		}
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			x, _ := r.format(e.X, literal)
			y, _ := r.format(e.Y, literal)
			return x + y, true
		}
	case *ast.CallExpr:
		if called(e.Fun) == "fmt.Sprintf" {
			return r.format(e.Args[0], false)
		}
	}
	return "%s", false
}

// called writes the name that is called.
func called(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return called(e.X) + "." + e.Sel.Name
	case *ast.CallExpr:
		return called(e.Fun)
	}
	return fmt.Sprintf("%T", e)
}

package web

// wordTexts are the words for what several pages show: the states of hosts and
// the kinds of scenarios.
var wordTexts = map[string]text{
	"hoststate.unasked":     {"not asked", "не опрошен"},
	"hoststate.ready":       {"ready", "готов"},
	"hoststate.not":         {"not ready", "не готов"},
	"hoststate.no-route":    {"unreachable", "нет пути к хосту"},
	"hoststate.silent":      {"does not answer", "не отвечает"},
	"hoststate.closed":      {"no agent listens", "агент не слушает"},
	"hoststate.no-agent":    {"something else answers", "отвечает не агент"},
	"hoststate.certificate": {"certificate refused", "сертификат не принят"},
	"hoststate.clock":       {"clock is off", "часы расходятся"},
	"hoststate.version":     {"versions too far apart", "слишком разные версии"},
	"hoststate.problem":     {"would refuse tasks", "откажется от задач"},
	"hoststate.trust":       {"trusts other scenarios", "доверяет другим сценариям"},

	"via.cli":   {"cli", "из командной строки"},
	"via.web":   {"web", "на сайте"},
	"via.api":   {"api", "через API"},
	"via.chat":  {"chat", "из чата"},
	"via.ssh":   {"ssh", "по SSH"},
	"via.local": {"local", "на самом сервере"},

	"kind.restart":     {"Restart", "Перезапуск"},
	"kind.thread-dump": {"Thread dump", "Дамп потоков"},
	"kind.custom":      {"Other work", "Другая работа"},
}

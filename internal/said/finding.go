package said

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/restartilka/restartilka/internal/dump/analyse"
)

// Finding gives what a finding says: its own sentences in English, and in Russian
// others of the same typed words. Names stand between backquotes. Nothing is
// escaped: they come from dumps.
func Finding(l Language, f analyse.Finding) string {
	if l == Russian {
		return ruFinding(f)
	}
	return f.String()
}

// Deviation says in what a host differs from its neighbours, without the host; as
// Finding does.
func Deviation(l Language, d analyse.Deviation) string {
	if l == Russian {
		return ruDeviation(d)
	}
	return d.String()
}

// Change says what became of the gravest finding from one dump to another; as
// Finding does.
func Change(l Language, c analyse.Change) string {
	if l == Russian {
		return ruChange(c)
	}
	return c.String()
}

func ruFinding(f analyse.Finding) string {
	say, known := russianSentences()[f.Kind]
	if !known {
		return f.String() // of a later version
	}
	text := say(f)
	switch {
	case len(f.Hosts) == 0 || slices.Contains([]analyse.FindingKind{analyse.SameFrame, analyse.OddHost, analyse.Nothing}, f.Kind):
		return text
	case len(f.Hosts) == 1:
		return "На " + ruName(f.Hosts[0]) + ": " + lowered(text)
	}
	return fmt.Sprintf("На %d из %s: %s", len(f.Hosts), forms(f.OfHosts, "хоста", "хостов", "хостов"), lowered(text))
}

func russianSentences() map[analyse.FindingKind]func(analyse.Finding) string {
	return map[analyse.FindingKind]func(analyse.Finding) string{
		analyse.Fatal: ruFatal, analyse.Deadlocked: ruDeadlock, analyse.AllStopped: ruStopped, analyse.Zombies: ruZombies, analyse.Connections: ruConnections,
		analyse.LockHeld: ruLockHeld, analyse.LockUntold: ruLockUntold, analyse.AllBlocked: ruAllBlocked, analyse.DiskWait: ruDisk, analyse.PoolBusy: ruPool,
		analyse.Leaked: ruLeak, analyse.SamePlace: ruSamePlace, analyse.StuckThreads: ruStuck, analyse.HotThread: ruHot, analyse.CollectorHot: ruCollector,
		analyse.Interpreter: ruInterpreter, analyse.LongWait: ruLongWait, analyse.CutShort: ruCut, analyse.NotRead: ruNotRead, analyse.Nothing: ruNothing,
		analyse.NoThreads: ruNoThreads, analyse.SameFrame: ruSameFrame, analyse.OddHost: ruOdd,
	}
}

func ruFatal(f analyse.Finding) string {
	if f.Severity == analyse.Note {
		return "Дамп записан при " + strings.TrimRight(f.Text, ".! ") + "."
	}
	return "Процесс упал: " + strings.TrimRight(f.Text, ".! ") + ". Стеки — его последние."
}

func ruDeadlock(f analyse.Finding) string {
	text := "Взаимная блокировка: " + ruListed(f.Names) + " ждут друг друга по кругу"
	if f.Lock != "" {
		text += ", первый из них — блокировку `" + analyse.LockClass(f.Lock) + "`"
	}
	if f.Frame != "" {
		text += " в " + ruQuoted(f.Frame)
	}
	text += "."
	if f.Behind > 0 {
		text += " За ними " + forms(f.Behind, "ждёт ещё %d поток", "ждут ещё %d потока", "ждут ещё %d потоков") + "."
	}
	return text + " Само это не пройдёт: сохраните дамп и перезапустите; ошибка — в порядке захвата блокировок."
}

func ruStopped(f analyse.Finding) string {
	if f.Threads == f.Of {
		return "Процесс остановлен сигналом или отладчиком: он ничего не делает, пока его не продолжат (kill -CONT)."
	}
	return ruOfAll(f, "остановлен", "остановлены", "остановлены") + " сигналом или отладчиком."
}

func ruZombies(f analyse.Finding) string {
	if f.Threads == f.Of {
		return "Процесс — зомби: он завершился, а родитель его не забрал. Смотрите родительский процесс."
	}
	return ruOfAll(f, "завершён", "завершены", "завершены") + ", но процесс их ещё не забрал."
}

func ruConnections(f analyse.Finding) string {
	text := fmt.Sprintf("%s соединения из `%s` в %s: свободных в пуле нет.", ruOfAll(f, "ждёт", "ждут", "ждут"), f.Subject, ruQuoted(f.Frame))
	peer := ruWith(f.Does.Peer)
	switch {
	case f.Dealing > 0:
		text += fmt.Sprintf(" В это время %s %s: смотрите, что там занимает столько времени.", forms(f.Dealing, "%d поток работает", "%d потока работают", "%d потоков работают"), peer)
	case f.Does.Peer != "":
		text += fmt.Sprintf(" Ни один поток в это время не работает %s: соединения взяли и не вернули (утечка) или держат потоки, занятые другим.", peer)
	default:
		text += " Найдите, кто держит соединения."
	}
	return text
}

func ruLockHeld(f analyse.Finding) string {
	holder := ruName(f.Holder)
	if f.Holder == "" && f.OfHosts > 0 {
		holder = "один поток своего хоста"
	}
	text := ruOfAll(f, "ждёт", "ждут", "ждут") + " " + holder
	if f.Depth > 1 {
		text += ", через " + forms(f.Depth, "%d блокировку", "%d блокировки", "%d блокировок")
	}
	text += ", а он " + ruDoes(f.Does)
	if f.Lock != "" {
		text += " и держит блокировку `" + analyse.LockClass(f.Lock) + "`"
	}
	return text + ". Смотрите " + holder + "."
}

func ruLockUntold(f analyse.Finding) string {
	text := ruOfAll(f, "ждёт", "ждут", "ждут") + " одной и той же блокировки"
	if f.Lock != "" {
		text += ", `" + analyse.LockClass(f.Lock) + "`,"
	}
	if f.Frame != "" {
		text += " в " + ruQuoted(f.Frame)
	}
	return text + "; кто её держит, дамп не говорит. Ищите поток, который внутри, и чего он ждёт."
}

func ruAllBlocked(f analyse.Finding) string {
	return fmt.Sprintf("Ни один поток не движется: %s блокировку или соединение, из них %d в %s; остальные ждут, спят или без дела.", forms(f.Threads, "%d ждёт", "%d ждут", "%d ждут"), f.At, ruQuoted(f.Frame))
}

func ruDisk(f analyse.Finding) string {
	text := ruOfAll(f, "висит", "висят", "висят") + " в непрерываемом ожидании (D)"
	if f.Frame != "" {
		text += " в " + ruQuoted(f.Frame)
	}
	if f.Dumps < 2 {
		return text + ": если они там останутся, не отвечает диск или сетевая файловая система. Снимите несколько дампов и смотрите диски и точки монтирования хоста."
	}
	return text + ruThrough(f) + ": не отвечает диск или сетевая файловая система. Перезапуск тоже может зависнуть; смотрите диски и точки монтирования хоста."
}

func ruPool(f analyse.Finding) string {
	text := fmt.Sprintf("Пул %s исчерпан: все его потоки (%d) заняты%s", ruName(f.Subject), f.Threads, ruThrough(f))
	if f.Frame != "" {
		text += fmt.Sprintf(", из них %d в %s — каждый %s", f.At, ruQuoted(f.Frame), ruVerb(f.Does))
	}
	return text + ". Всё новое ждёт в его очереди."
}

func ruLeak(f analyse.Finding) string {
	text := forms(f.Threads, "%d горутина, созданная", "%d горутины, созданные", "%d горутин, созданных") + " в " + ruQuoted(f.Subject) + ", стоят в " + ruQuoted(f.Frame)
	if f.Threads%10 == 1 && f.Threads%100 != 11 {
		text = strings.Replace(text, ", стоят в ", ", стоит в ", 1)
	}
	if f.Span > 0 {
		text += ", дольше всего " + ruDuration(f.Span)
	}
	if f.Grown > 0 {
		text += fmt.Sprintf("; на %d больше, чем в первом дампе", f.Grown)
	}
	return text + ". Похоже на утечку: их никто не разбудит. Смотрите " + ruQuoted(f.Subject) + "."
}

func ruSamePlace(f analyse.Finding) string {
	return fmt.Sprintf("%s в одном месте, %s: каждый %s.", ruOfAll(f, "стоит", "стоят", "стоят"), ruQuoted(f.Frame), ruVerb(f.Does))
}

func ruStuck(f analyse.Finding) string {
	return fmt.Sprintf("%s на одном кадре%s: %s, %s.", ruOfAll(f, "простоял", "простояли", "простояли"), ruThrough(f), ruQuoted(f.Frame), ruVerb(f.Does))
}

func ruHot(f analyse.Finding) string {
	text := fmt.Sprintf("%s занял %s %% ядра", ruName(f.Subject), ruPercent(f.Percent))
	if f.Span > 0 {
		text += " за " + ruDuration(f.Span)
	}
	if f.Frame != "" {
		return text + ", в каждом дампе — в " + ruQuoted(f.Frame) + ": возможно, это цикл."
	}
	return text + ". Смотрите, где он в каждом дампе."
}

func ruCollector(f analyse.Finding) string {
	return fmt.Sprintf("Сборщик мусора занял %s %% ядра: памяти мало или её заполняют быстрее, чем она освобождается. Смотрите кучу.", ruPercent(f.Percent))
}

func ruInterpreter(f analyse.Finding) string {
	return fmt.Sprintf("%s держит блокировку интерпретатора (GIL)%s, в %s; её %s.", ruName(f.Holder), ruThrough(f), ruQuoted(f.Frame), forms(f.Threads, "ждёт %d поток", "ждут %d потока", "ждут %d потоков"))
}

func ruLongWait(f analyse.Finding) string {
	counted := forms(f.Threads, "%d горутина стоит", "%d горутины стоят", "%d горутин стоят")
	if f.Of > f.Threads {
		counted = fmt.Sprintf("Горутин %d из %d стоят", f.Threads, f.Of)
	}
	return fmt.Sprintf("%s в %s, дольше всего %s: %s.", counted, ruQuoted(f.Frame), ruDuration(f.Span), ruVerb(f.Does))
}

func ruCut(f analyse.Finding) string {
	why := strings.TrimSuffix(f.Text, ".")
	if f.Dumps < f.Of {
		return fmt.Sprintf("Неполных дампов: %d из %d: %s.", f.Dumps, f.Of, why)
	}
	return fmt.Sprintf("Дамп неполный: %s. Прочитано %s; о том, чего нет, судить нельзя.", why, forms(f.Threads, "%d поток", "%d потока", "%d потоков"))
}

func ruNotRead(f analyse.Finding) string {
	return forms(f.At, "Не разобрана %d строка", "Не разобраны %d строки", "Не разобрано %d строк") + " дампа; они сохранены, смотрите исходный текст."
}

func ruNothing(f analyse.Finding) string {
	text := "Ничего заметного: " + forms(f.Threads, "%d поток", "%d потока", "%d потоков")
	if f.OfHosts > 0 {
		text += forms(f.OfHosts, " на %d хосте", " на %d хостах", " на %d хостах")
	}
	if f.Dumps > 1 {
		text += forms(f.Dumps, " в %d дампе", " в %d дампах", " в %d дампах")
	}
	text += "."
	if len(f.Looked) > 0 {
		text += " Проверены: " + ruAspects(f.Looked) + "."
	}
	if len(f.Missed) > 0 {
		text += " Не проверены: " + ruAspects(f.Missed) + "; для этого нужны несколько дампов или способ, который говорит больше."
	}
	return text
}

func ruNoThreads(f analyse.Finding) string {
	if f.Dumps == 0 {
		return "Дампа нет."
	}
	return "В " + one(f.Dumps, "дампе", "дампах") + " нет потоков."
}

func ruSameFrame(f analyse.Finding) string {
	return fmt.Sprintf("%d из %s %s в %s: %s, каждый %s.", len(f.Hosts), forms(f.OfHosts, "%d хоста", "%d хостов", "%d хостов"), one(len(f.Hosts), "стоит", "стоят"), ruQuoted(f.Frame), forms(f.Threads, "%d поток", "%d потока", "%d потоков"), ruVerb(f.Does))
}

func ruOdd(f analyse.Finding) string {
	if f.Deviation == nil {
		return ruName(f.Subject) + " отличается от соседей."
	}
	return ruName(f.Subject) + " отличается от соседей: " + ruDeviation(*f.Deviation) + "."
}

func ruDeviation(d analyse.Deviation) string {
	where := "всего"
	switch d.Kind {
	case analyse.ByFinding:
		return "только здесь — " + findingNames[d.Finding]
	case analyse.ByState:
		where = "в состоянии «" + ThreadState(Russian, d.State) + "»"
	case analyse.ByCluster:
		where = "в " + ruQuoted(d.Frame)
	}
	return forms(d.Threads, "%d поток", "%d потока", "%d потоков") + " " + where + ", медиана остальных — " + Russian.Decimal(d.Median, -1)
}

func ruChange(c analyse.Change) string {
	switch {
	case c.Kind == analyse.ChangeFixed && c.Finding != nil:
		text := "Прошло: " + findingNames[c.Finding.Kind]
		if c.Still > 0 {
			text += "; " + forms(c.Still, "осталось ещё %d", "осталось ещё %d", "осталось ещё %d")
		}
		if c.New > 0 {
			text += "; " + forms(c.New, "появилось новое: %d", "появилось новое: %d", "появилось новое: %d")
		}
		return text + "."
	case c.Kind == analyse.ChangeNew && c.Finding != nil:
		return "Появилось: " + lowered(ruFinding(*c.Finding))
	case c.Kind == analyse.ChangeStill && c.Finding != nil:
		return "Осталось: " + lowered(ruFinding(*c.Finding))
	case c.Kind == analyse.ChangeMoved:
		return fmt.Sprintf("Заметного не было и нет; в другом месте %d из %s.", c.Moved, forms(c.Threads, "%d потока", "%d потоков", "%d потоков"))
	}
	return "Ничего важного не изменилось."
}

// ruDoes says what a thread does, and where.
func ruDoes(d analyse.Doing) string {
	where := d.Own
	if where == "" {
		where = d.Frame
	}
	if where == "" {
		return ruVerb(d)
	}
	return ruVerb(d) + " в " + ruQuoted(where)
}

func ruVerb(d analyse.Doing) string { return Doing(Russian, d) }

// ruWith gives a peer in the instrumental case.
func ruWith(p analyse.Peer) string {
	words := map[analyse.Peer]string{
		analyse.Database: "с базой данных", analyse.HTTP: "с HTTP-сервером", analyse.Cache: "с кэшем", analyse.Queue: "с очередью сообщений",
		analyse.Directory: "с каталогом", analyse.Mail: "с почтовым сервером", analyse.Names: "с DNS",
	}
	if w, ok := words[p]; ok {
		return w
	}
	return "с " + string(p)
}

func ruAspects(list []analyse.Aspect) string {
	words := make([]string, len(list))
	for i, a := range list {
		words[i] = cmp.Or(aspects[a], string(a))
	}
	return strings.Join(words, ", ")
}

// ruThrough says over how many dumps and what time something was seen.
func ruThrough(f analyse.Finding) string {
	if f.Dumps < 2 {
		return ""
	}
	text := forms(f.Dumps, " в %d дампе", " во всех %d дампах", " во всех %d дампах")
	if f.Span > 0 {
		text += ", за " + ruDuration(f.Span)
	}
	return text
}

func ruQuoted(name string) string {
	if name == "" {
		return "неизвестном месте"
	}
	return "`" + analyse.Short(name) + "`"
}

// ruName gives a name that is not cut: of a thread, a pool or a host.
func ruName(name string) string {
	if name == "" {
		return "неизвестный поток"
	}
	return "`" + name + "`"
}

// lowered begins a sentence that goes on after a colon.
func lowered(text string) string {
	first, n := utf8.DecodeRuneInString(text)
	return string(unicode.ToLower(first)) + text[n:]
}

func ruListed(names []string) string {
	const shown = 4
	var words []string
	for _, n := range names[:min(len(names), shown)] {
		words = append(words, "`"+n+"`")
	}
	if more := len(names) - shown; more > 0 {
		return strings.Join(words, ", ") + fmt.Sprintf(" и ещё %d", more)
	}
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " и " + words[len(words)-1]
}

// ruOfAll gives "412 из 640 потоков ждут", with the verb as the number wants it.
func ruOfAll(f analyse.Finding, single, few, many string) string {
	if f.Of > f.Threads {
		return fmt.Sprintf("%d из %s %s", f.Threads, forms(f.Of, "%d потока", "%d потоков", "%d потоков"), one(f.Threads, single, many))
	}
	return forms(f.Threads, "%d поток "+single, "%d потока "+few, "%d потоков "+many)
}

// forms gives the form of a phrase that fits a number, with the number in it
// where %d stands, or else before it.
func forms(n int, single, few, many string) string {
	form := [3]string{single, few, many}[Russian.Plural(n)]
	if !strings.Contains(form, "%d") {
		return strconv.Itoa(n) + " " + form
	}
	return strings.Replace(form, "%d", strconv.Itoa(n), 1)
}

func one(n int, single, many string) string {
	if Russian.Plural(n) == 0 {
		return single
	}
	return many
}

func ruPercent(p float64) string { return strconv.FormatFloat(math.Round(p), 'f', -1, 64) }

func ruDuration(d time.Duration) string {
	number := func(x float64) string { return Russian.Decimal(x, -1) }
	switch {
	case d < 10*time.Second:
		return number(math.Round(d.Seconds()*10)/10) + " с"
	case d < 10*time.Minute:
		return number(math.Round(d.Seconds())) + " с"
	case d < 10*time.Hour:
		return number(math.Round(d.Minutes())) + " мин"
	}
	return number(math.Round(d.Hours())) + " ч"
}

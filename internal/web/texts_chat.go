package web

// chatTexts are of the accounts of chats, on the profile and a user's page.
var chatTexts = map[string]text{
	"chat.title":    {"Chats", "Чаты"},
	"chat.what":     {"From an account of a chat that is linked to your name you can ask for restarts and dumps there, with the roles that you had when you linked it, as long as you have them.", "Из привязанного чата можно запускать перезапуски и дампы от вашего имени — с ролями, которые были у вас при привязке, пока они у вас есть."},
	"chat.theirs":   {"What comes from these accounts counts as this person's.", "Сообщения из этих чатов считаются сообщениями этого человека."},
	"chat.none":     {"You have linked no account.", "Привязанных чатов нет."},
	"chat.since":    {"linked", "привязан"},
	"chat.remove":   {"Remove", "Отвязать"},
	"chat.code":     {"Link an account", "Привязать чат"},
	"chat.send":     {"Send this to the bot from your account, in a private chat with it. It works once, until", "Отправьте это боту со своей учётной записи, в личном чате с ним. Сработает один раз, до"},
	"chat.private":  {"Show it to nobody: whoever sends it first acts in your name.", "Никому не показывайте: кто отправит первым, будет действовать от вашего имени."},
	"chat.unlinked": {"The account is not linked any more.", "Чат отвязан."},

	"done.unlinked": {"The account is not linked any more.", "Чат отвязан."},
}

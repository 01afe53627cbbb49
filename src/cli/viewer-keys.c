/* SPDX-License-Identifier: MIT */
/* Keys as terminals tell of them, to keys of a PC keyboard. */
#include <curses.h>
#include <stdio.h>
#include <string.h>

#include "cli/viewer-impl.h"

#define DELETE_CHARACTER 0x7f
#define ALT "alt-"
#define CHORD_ROOM (CHORD_SIZE - sizeof ALT + 1)

struct named_key {
	int code;
	const char *chord;
};

static const struct named_key function_keys[] = {
    {KEY_UP, "up"},
    {KEY_DOWN, "down"},
    {KEY_LEFT, "left"},
    {KEY_RIGHT, "right"},
    {KEY_HOME, "home"},
    {KEY_END, "end"},
    {KEY_FIND, "home"},
    {KEY_SELECT, "end"},
    {KEY_PPAGE, "pageup"},
    {KEY_NPAGE, "pagedown"},
    {KEY_IC, "insert"},
    {KEY_DC, "delete"},
    {KEY_BACKSPACE, "backspace"},
    {KEY_ENTER, "kpenter"},
    {KEY_B2, "kp5"},
    {KEY_BTAB, "shift-tab"},
    {KEY_SR, "shift-up"},
    {KEY_SF, "shift-down"},
    {KEY_SLEFT, "shift-left"},
    {KEY_SRIGHT, "shift-right"},
    {KEY_SHOME, "shift-home"},
    {KEY_SEND, "shift-end"},
    {KEY_SPREVIOUS, "shift-pageup"},
    {KEY_SNEXT, "shift-pagedown"},
    {KEY_SIC, "shift-insert"},
    {KEY_SDC, "shift-delete"},
    {KEY_PRINT, "print"},
};

/* Characters that need a name in a chord. */
static const struct named_key characters[] = {
    {'\r', "enter"},
    {'\t', "tab"},
    {0x1b, "escape"},
    {DELETE_CHARACTER, "backspace"},
    {' ', "space"},
    {'`', "grave"},
    {'-', "minus"},
    {'=', "equal"},
    {'\\', "backslash"},
    {'[', "leftbracket"},
    {']', "rightbracket"},
    {';', "semicolon"},
    {'\'', "apostrophe"},
    {',', "comma"},
    {'.', "dot"},
    {'/', "slash"},
    {0x00, "ctrl-space"},
    {0x1c, "ctrl-backslash"},
    {0x1d, "ctrl-rightbracket"},
    {0x1e, "ctrl-6"},
    {0x1f, "ctrl-minus"},
};

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static const char *find(const struct named_key *table, size_t count, int code)
{
	for (size_t i = 0; i < count; i++)
		if (table[i].code == code)
			return table[i].chord;
	return NULL;
}

/* Function keys come in dozens, as xterm and its like count them. */
static bool numbered_chord(int code, char chord[CHORD_ROOM])
{
	static const char *const modifiers[] = {"", "shift-", "ctrl-", "ctrl-shift-", "alt-"};
	int number = code - KEY_F0 - 1;
	if (number < 0 || number >= 12 * (int)COUNT(modifiers))
		return false;
	(void)snprintf(chord, CHORD_ROOM, "%sf%d", modifiers[number / 12], number % 12 + 1);
	return true;
}

/* Keys with modifiers have names in terminfo's extensions, such as kLFT5: the modifiers are the digit less one, as bits
 * for Shift, Alt and Ctrl. */
static bool extended_chord(int code, char chord[CHORD_ROOM])
{
	static const struct {
		const char *prefix, *key;
	} keys[] = {{"kUP", "up"},   {"kDN", "down"},	{"kLFT", "left"},  {"kRIT", "right"},  {"kHOM", "home"},
		    {"kEND", "end"}, {"kIC", "insert"}, {"kDC", "delete"}, {"kPRV", "pageup"}, {"kNXT", "pagedown"}};
	const char *name = keyname(code);
	for (size_t i = 0; name != NULL && i < COUNT(keys); i++) {
		size_t length = strlen(keys[i].prefix);
		if (strncmp(name, keys[i].prefix, length) != 0 || name[length] < '2' || name[length] > '8' ||
		    name[length + 1] != '\0')
			continue;
		unsigned modifiers = (unsigned)(name[length] - '1');
		(void)snprintf(chord, CHORD_ROOM, "%s%s%s%s", (modifiers & 4) != 0 ? "ctrl-" : "",
			       (modifiers & 2) != 0 ? "alt-" : "", (modifiers & 1) != 0 ? "shift-" : "", keys[i].key);
		return true;
	}
	return false;
}

static bool function_chord(int code, char chord[CHORD_ROOM])
{
	const char *known = find(function_keys, COUNT(function_keys), code);
	if (known == NULL)
		return numbered_chord(code, chord) || extended_chord(code, chord);
	(void)snprintf(chord, CHORD_ROOM, "%s", known);
	return true;
}

static bool character_chord(wint_t code, char chord[CHORD_ROOM])
{
	const char *known = code <= DELETE_CHARACTER ? find(characters, COUNT(characters), (int)code) : NULL;
	if (known != NULL)
		(void)snprintf(chord, CHORD_ROOM, "%s", known);
	else if (code >= 1 && code <= 26)
		(void)snprintf(chord, CHORD_ROOM, "ctrl-%c", (char)(code + 'a' - 1));
	else if ((code >= 'a' && code <= 'z') || (code >= '0' && code <= '9'))
		(void)snprintf(chord, CHORD_ROOM, "%c", (char)code);
	else if (code >= 'A' && code <= 'Z')
		(void)snprintf(chord, CHORD_ROOM, "shift-%c", (char)(code | 0x20));
	else
		return false;
	return true;
}

struct pressed key_translate(wint_t code, bool function, bool alt)
{
	struct pressed pressed = {0};
	char *chord = pressed.chord + (alt ? strlen(ALT) : 0);
	if (!function && !alt && code >= ' ' && code < DELETE_CHARACTER)
		pressed.character = (char)code;
	else if ((function ? function_chord((int)code, chord) : character_chord(code, chord)) && alt)
		memcpy(pressed.chord, ALT, strlen(ALT));
	return pressed;
}

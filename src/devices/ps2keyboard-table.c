/* SPDX-License-Identifier: MIT */
/* The keys: names, scan codes of the three sets, and characters on a US layout. */
#include <string.h>

#include "devices/ps2keyboard.h"

/* clang-format off */
const struct ps2_key ps2_keys[] = {
    {.name = "a", .set2 = 0x1c, .set1 = 0x1e, .set3 = 0x1c, .plain = 'a', .shifted = 'A'},
    {.name = "b", .set2 = 0x32, .set1 = 0x30, .set3 = 0x32, .plain = 'b', .shifted = 'B'},
    {.name = "c", .set2 = 0x21, .set1 = 0x2e, .set3 = 0x21, .plain = 'c', .shifted = 'C'},
    {.name = "d", .set2 = 0x23, .set1 = 0x20, .set3 = 0x23, .plain = 'd', .shifted = 'D'},
    {.name = "e", .set2 = 0x24, .set1 = 0x12, .set3 = 0x24, .plain = 'e', .shifted = 'E'},
    {.name = "f", .set2 = 0x2b, .set1 = 0x21, .set3 = 0x2b, .plain = 'f', .shifted = 'F'},
    {.name = "g", .set2 = 0x34, .set1 = 0x22, .set3 = 0x34, .plain = 'g', .shifted = 'G'},
    {.name = "h", .set2 = 0x33, .set1 = 0x23, .set3 = 0x33, .plain = 'h', .shifted = 'H'},
    {.name = "i", .set2 = 0x43, .set1 = 0x17, .set3 = 0x43, .plain = 'i', .shifted = 'I'},
    {.name = "j", .set2 = 0x3b, .set1 = 0x24, .set3 = 0x3b, .plain = 'j', .shifted = 'J'},
    {.name = "k", .set2 = 0x42, .set1 = 0x25, .set3 = 0x42, .plain = 'k', .shifted = 'K'},
    {.name = "l", .set2 = 0x4b, .set1 = 0x26, .set3 = 0x4b, .plain = 'l', .shifted = 'L'},
    {.name = "m", .set2 = 0x3a, .set1 = 0x32, .set3 = 0x3a, .plain = 'm', .shifted = 'M'},
    {.name = "n", .set2 = 0x31, .set1 = 0x31, .set3 = 0x31, .plain = 'n', .shifted = 'N'},
    {.name = "o", .set2 = 0x44, .set1 = 0x18, .set3 = 0x44, .plain = 'o', .shifted = 'O'},
    {.name = "p", .set2 = 0x4d, .set1 = 0x19, .set3 = 0x4d, .plain = 'p', .shifted = 'P'},
    {.name = "q", .set2 = 0x15, .set1 = 0x10, .set3 = 0x15, .plain = 'q', .shifted = 'Q'},
    {.name = "r", .set2 = 0x2d, .set1 = 0x13, .set3 = 0x2d, .plain = 'r', .shifted = 'R'},
    {.name = "s", .set2 = 0x1b, .set1 = 0x1f, .set3 = 0x1b, .plain = 's', .shifted = 'S'},
    {.name = "t", .set2 = 0x2c, .set1 = 0x14, .set3 = 0x2c, .plain = 't', .shifted = 'T'},
    {.name = "u", .set2 = 0x3c, .set1 = 0x16, .set3 = 0x3c, .plain = 'u', .shifted = 'U'},
    {.name = "v", .set2 = 0x2a, .set1 = 0x2f, .set3 = 0x2a, .plain = 'v', .shifted = 'V'},
    {.name = "w", .set2 = 0x1d, .set1 = 0x11, .set3 = 0x1d, .plain = 'w', .shifted = 'W'},
    {.name = "x", .set2 = 0x22, .set1 = 0x2d, .set3 = 0x22, .plain = 'x', .shifted = 'X'},
    {.name = "y", .set2 = 0x35, .set1 = 0x15, .set3 = 0x35, .plain = 'y', .shifted = 'Y'},
    {.name = "z", .set2 = 0x1a, .set1 = 0x2c, .set3 = 0x1a, .plain = 'z', .shifted = 'Z'},
    {.name = "1", .set2 = 0x16, .set1 = 0x02, .set3 = 0x16, .plain = '1', .shifted = '!'},
    {.name = "2", .set2 = 0x1e, .set1 = 0x03, .set3 = 0x1e, .plain = '2', .shifted = '@'},
    {.name = "3", .set2 = 0x26, .set1 = 0x04, .set3 = 0x26, .plain = '3', .shifted = '#'},
    {.name = "4", .set2 = 0x25, .set1 = 0x05, .set3 = 0x25, .plain = '4', .shifted = '$'},
    {.name = "5", .set2 = 0x2e, .set1 = 0x06, .set3 = 0x2e, .plain = '5', .shifted = '%'},
    {.name = "6", .set2 = 0x36, .set1 = 0x07, .set3 = 0x36, .plain = '6', .shifted = '^'},
    {.name = "7", .set2 = 0x3d, .set1 = 0x08, .set3 = 0x3d, .plain = '7', .shifted = '&'},
    {.name = "8", .set2 = 0x3e, .set1 = 0x09, .set3 = 0x3e, .plain = '8', .shifted = '*'},
    {.name = "9", .set2 = 0x46, .set1 = 0x0a, .set3 = 0x46, .plain = '9', .shifted = '('},
    {.name = "0", .set2 = 0x45, .set1 = 0x0b, .set3 = 0x45, .plain = '0', .shifted = ')'},
    {.name = "grave", .set2 = 0x0e, .set1 = 0x29, .set3 = 0x0e, .plain = '`', .shifted = '~'},
    {.name = "minus", .set2 = 0x4e, .set1 = 0x0c, .set3 = 0x4e, .plain = '-', .shifted = '_'},
    {.name = "equal", .set2 = 0x55, .set1 = 0x0d, .set3 = 0x55, .plain = '=', .shifted = '+'},
    {.name = "backslash", .set2 = 0x5d, .set1 = 0x2b, .set3 = 0x5c, .plain = '\\', .shifted = '|'},
    {.name = "leftbracket", .set2 = 0x54, .set1 = 0x1a, .set3 = 0x54, .plain = '[', .shifted = '{'},
    {.name = "rightbracket", .set2 = 0x5b, .set1 = 0x1b, .set3 = 0x5b, .plain = ']', .shifted = '}'},
    {.name = "semicolon", .set2 = 0x4c, .set1 = 0x27, .set3 = 0x4c, .plain = ';', .shifted = ':'},
    {.name = "apostrophe", .set2 = 0x52, .set1 = 0x28, .set3 = 0x52, .plain = '\'', .shifted = '"'},
    {.name = "comma", .set2 = 0x41, .set1 = 0x33, .set3 = 0x41, .plain = ',', .shifted = '<'},
    {.name = "dot", .set2 = 0x49, .set1 = 0x34, .set3 = 0x49, .plain = '.', .shifted = '>'},
    {.name = "slash", .set2 = 0x4a, .set1 = 0x35, .set3 = 0x4a, .plain = '/', .shifted = '?'},
    {.name = "space", .set2 = 0x29, .set1 = 0x39, .set3 = 0x29, .plain = ' ', .shifted = ' '},
    {.name = "tab", .set2 = 0x0d, .set1 = 0x0f, .set3 = 0x0d, .plain = '\t', .shifted = 0},
    {.name = "enter", .set2 = 0x5a, .set1 = 0x1c, .set3 = 0x5a, .plain = '\n', .shifted = 0},
    {.name = "backspace", .set2 = 0x66, .set1 = 0x0e, .set3 = 0x66, .plain = '\b', .shifted = 0},
    {.name = "escape", .set2 = 0x76, .set1 = 0x01, .set3 = 0x08, .plain = '\033', .shifted = 0},
    {.name = "capslock", .set2 = 0x58, .set1 = 0x3a, .set3 = 0x14},
    {.name = "shift", .set2 = 0x12, .set1 = 0x2a, .set3 = 0x12},
    {.name = "rightshift", .set2 = 0x59, .set1 = 0x36, .set3 = 0x59},
    {.name = "ctrl", .set2 = 0x14, .set1 = 0x1d, .set3 = 0x11},
    {.name = "rightctrl", .set2 = 0xe014, .set1 = 0xe01d, .set3 = 0x58},
    {.name = "alt", .set2 = 0x11, .set1 = 0x38, .set3 = 0x19},
    {.name = "rightalt", .set2 = 0xe011, .set1 = 0xe038, .set3 = 0x39},
    {.name = "super", .set2 = 0xe01f, .set1 = 0xe05b, .set3 = 0x8b},
    {.name = "rightsuper", .set2 = 0xe027, .set1 = 0xe05c, .set3 = 0x8c},
    {.name = "menu", .set2 = 0xe02f, .set1 = 0xe05d, .set3 = 0x8d},
    {.name = "less", .set2 = 0x61, .set1 = 0x56, .set3 = 0x13},
    {.name = "f1", .set2 = 0x05, .set1 = 0x3b, .set3 = 0x07},
    {.name = "f2", .set2 = 0x06, .set1 = 0x3c, .set3 = 0x0f},
    {.name = "f3", .set2 = 0x04, .set1 = 0x3d, .set3 = 0x17},
    {.name = "f4", .set2 = 0x0c, .set1 = 0x3e, .set3 = 0x1f},
    {.name = "f5", .set2 = 0x03, .set1 = 0x3f, .set3 = 0x27},
    {.name = "f6", .set2 = 0x0b, .set1 = 0x40, .set3 = 0x2f},
    {.name = "f7", .set2 = 0x83, .set1 = 0x41, .set3 = 0x37},
    {.name = "f8", .set2 = 0x0a, .set1 = 0x42, .set3 = 0x3f},
    {.name = "f9", .set2 = 0x01, .set1 = 0x43, .set3 = 0x47},
    {.name = "f10", .set2 = 0x09, .set1 = 0x44, .set3 = 0x4f},
    {.name = "f11", .set2 = 0x78, .set1 = 0x57, .set3 = 0x56},
    {.name = "f12", .set2 = 0x07, .set1 = 0x58, .set3 = 0x5e},
    {.name = "print", .set3 = 0x57, .special = PS2_KEY_PRINT},
    {.name = "scrolllock", .set2 = 0x7e, .set1 = 0x46, .set3 = 0x5f},
    {.name = "pause", .set3 = 0x62, .special = PS2_KEY_PAUSE},
    {.name = "insert", .set2 = 0xe070, .set1 = 0xe052, .set3 = 0x67},
    {.name = "home", .set2 = 0xe06c, .set1 = 0xe047, .set3 = 0x6e},
    {.name = "pageup", .set2 = 0xe07d, .set1 = 0xe049, .set3 = 0x6f},
    {.name = "delete", .set2 = 0xe071, .set1 = 0xe053, .set3 = 0x64},
    {.name = "end", .set2 = 0xe069, .set1 = 0xe04f, .set3 = 0x65},
    {.name = "pagedown", .set2 = 0xe07a, .set1 = 0xe051, .set3 = 0x6d},
    {.name = "up", .set2 = 0xe075, .set1 = 0xe048, .set3 = 0x63},
    {.name = "left", .set2 = 0xe06b, .set1 = 0xe04b, .set3 = 0x61},
    {.name = "down", .set2 = 0xe072, .set1 = 0xe050, .set3 = 0x60},
    {.name = "right", .set2 = 0xe074, .set1 = 0xe04d, .set3 = 0x6a},
    {.name = "numlock", .set2 = 0x77, .set1 = 0x45, .set3 = 0x76},
    {.name = "kpdivide", .set2 = 0xe04a, .set1 = 0xe035, .set3 = 0x77},
    {.name = "kpmultiply", .set2 = 0x7c, .set1 = 0x37, .set3 = 0x7e},
    {.name = "kpsubtract", .set2 = 0x7b, .set1 = 0x4a, .set3 = 0x84},
    {.name = "kpadd", .set2 = 0x79, .set1 = 0x4e, .set3 = 0x7c},
    {.name = "kpenter", .set2 = 0xe05a, .set1 = 0xe01c, .set3 = 0x79},
    {.name = "kpdecimal", .set2 = 0x71, .set1 = 0x53, .set3 = 0x71},
    {.name = "kp0", .set2 = 0x70, .set1 = 0x52, .set3 = 0x70},
    {.name = "kp1", .set2 = 0x69, .set1 = 0x4f, .set3 = 0x69},
    {.name = "kp2", .set2 = 0x72, .set1 = 0x50, .set3 = 0x72},
    {.name = "kp3", .set2 = 0x7a, .set1 = 0x51, .set3 = 0x7a},
    {.name = "kp4", .set2 = 0x6b, .set1 = 0x4b, .set3 = 0x6b},
    {.name = "kp5", .set2 = 0x73, .set1 = 0x4c, .set3 = 0x73},
    {.name = "kp6", .set2 = 0x74, .set1 = 0x4d, .set3 = 0x74},
    {.name = "kp7", .set2 = 0x6c, .set1 = 0x47, .set3 = 0x6c},
    {.name = "kp8", .set2 = 0x75, .set1 = 0x48, .set3 = 0x75},
    {.name = "kp9", .set2 = 0x7d, .set1 = 0x49, .set3 = 0x7d},
};
/* clang-format on */

const unsigned ps2_key_count = sizeof ps2_keys / sizeof ps2_keys[0];

_Static_assert(sizeof ps2_keys / sizeof ps2_keys[0] <= 128, "keys are kept as bits of two 64-bit words");

/* Other names that people write. */
static const struct {
	const char *alias, *name;
} aliases[] = {
    {"esc", "escape"},	   {"del", "delete"},	     {"ins", "insert"},	     {"return", "enter"},  {"control", "ctrl"},
    {"pgup", "pageup"},	   {"pgdn", "pagedown"},     {"meta", "super"},	     {"win", "super"},	   {"period", "dot"},
    {"altgr", "rightalt"}, {"printscreen", "print"}, {"leftshift", "shift"}, {"leftctrl", "ctrl"}, {"leftalt", "alt"},
};

int ps2keyboard_find_name(const char *name)
{
	for (unsigned i = 0; i < sizeof aliases / sizeof aliases[0]; i++)
		if (strcmp(aliases[i].alias, name) == 0)
			name = aliases[i].name;
	for (unsigned i = 0; i < ps2_key_count; i++)
		if (strcmp(ps2_keys[i].name, name) == 0)
			return (int)i;
	return -1;
}

int ps2keyboard_find_character(char character, bool *shift)
{
	for (unsigned i = 0; character != 0 && i < ps2_key_count; i++) {
		if (ps2_keys[i].plain != character && ps2_keys[i].shifted != character)
			continue;
		*shift = ps2_keys[i].plain != character;
		return (int)i;
	}
	return -1;
}

unsigned ps2keyboard_parse_chord(const char *text, uint8_t keys[PS2_CHORD_MAX], struct error *error)
{
	unsigned count = 0;
	for (const char *from = text;; from++) {
		char name[16];
		size_t length = strcspn(from, "-");
		size_t kept = length < sizeof name ? length : 0;
		memcpy(name, from, kept);
		name[kept] = 0;
		int key = ps2keyboard_find_name(name);
		if (key < 0 || count == PS2_CHORD_MAX) {
			(void)error_set(error, ERROR_INPUT,
					key < 0 ? "there is no key \"%.*s\" in \"%.64s\""
						: "\"%.*s\" is one key too many in \"%.64s\"",
					(int)(length < 64 ? length : 64), from, text);
			return 0;
		}
		keys[count++] = (uint8_t)key;
		from += length;
		if (*from == 0)
			return count;
	}
}

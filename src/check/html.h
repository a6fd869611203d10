/* SPDX-License-Identifier: Apache-2.0
 * html.h - what the pages that ferry writes share: text from files made safe, the start of a page. Pages are one file that needs nothing else. */
#ifndef FY_HTML_H
#define FY_HTML_H

#include "base/buf.h"

/* At most `most` characters of s (0: all), safe in HTML and XML, in text and in attributes. */
void fy_html_text(fy_buf *b, const char *s, int most);
/* From the doctype to </head>: title "MODEL - ferry WHAT". */
void fy_html_head(fy_buf *b, const char *model, const char *what, const char *css, size_t ncss);

#endif

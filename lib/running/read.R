# Reads an exported study, whose tables lie beside this file, and fits its own mixed model: Rscript read.R
# Needs the package lme4; statsmodels and lme4 agree to about four digits.

script <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
if (length(script)) setwd(dirname(gsub("~+~", " ", script, fixed = TRUE)))  # so Rscript writes a blank

texts <- read.csv("texts.csv", stringsAsFactors = FALSE, na.strings = "",
                  colClasses = c(doc_id = "character"), encoding = "UTF-8")
first <- texts[texts$scorer == texts$scorer[1] & !is.na(texts$uid_variance), ]

# Means per source, as in summary.csv.
print(aggregate(cbind(mean_surprisal, uid_variance, uid_pairwise) ~ dataset + source, first, mean),
      digits = 15)

# metric ~ class x dataset + log2(tokens), a random intercept per document, by REML; where all texts are of
# one class, the sources take its place.
order <- unique(c("human", first$text_class))
first$class <- factor(first$text_class, levels = order[order %in% first$text_class])
first$document <- paste(first$dataset, first$doc_id)
several <- length(unique(first$dataset)) > 1
if (nlevels(first$class) == 1) first$class <- factor(first$source)
formula <- if (several) uid_variance ~ class * dataset + log2(tokens) + (1 | document) else
  uid_variance ~ class + log2(tokens) + (1 | document)
if (nlevels(first$class) == 1) {
  message("A model compares sources, and there is one")
} else if (requireNamespace("lme4", quietly = TRUE)) {
  model <- lme4::lmer(formula, data = first, REML = TRUE)
  print(lme4::fixef(model), digits = 10)
} else {
  message("install.packages(\"lme4\") fits the study's mixed model")
}
